import assert from 'node:assert/strict';
import {
  assertResponse,
  hasSeparateConditions,
  type Outcome,
  type State,
  stateAfter,
  statusOf,
  type Traits,
  uploadStatus,
} from './model.js';
import type { Operation } from './operations.js';

/** Concurrent operation and its response. */
export interface Completed {
  readonly operation: Operation;
  readonly outcome: Outcome;
}

/** Operation in flight. The conditions of an upload or deletion are evaluated before its effect. */
interface Pending extends Completed {
  readonly isAdmitted: boolean;
}

/**
 * Returns the states that concurrent operations with these responses may result in: one for every order in which each
 * operation takes effect at one moment. Empty if no order explains the responses.
 */
export function statesAfter(completed: readonly Completed[], state: State, traits: Traits): State[] {
  const effective = completed.filter(({ operation }) => !isAborted(operation));
  const pending = effective.map((each): Pending => ({ ...each, isAdmitted: !hasSeparateConditions(each.operation) }));
  return explore(pending, state, traits);
}

/** Returns `true` for an upload that its client aborts. It must have no effect, whatever the response. */
export function isAborted(operation: Operation): boolean {
  return operation.do === 'PUT' && operation.upload === 'aborted';
}

function explore(pending: readonly Pending[], state: State, traits: Traits): State[] {
  if (pending.length === 0) return [state];
  return pending.flatMap((each, index) => {
    const others = pending.toSpliced(index, 1);
    if (!each.isAdmitted) {
      const status = statusOf(each.operation, state);
      if (status < 400) return explore(pending.with(index, { ...each, isAdmitted: true }), state, traits);
      return explains(each, state, status) ? explore(others, state, traits) : [];
    }
    const status = effectOf(each.operation, state, traits);
    if (!explains(each, state, status)) return [];
    return explore(others, stateAfter(each.operation, state, status), traits);
  });
}

/** Returns the status of an operation whose conditions were true. */
function effectOf(operation: Operation, state: State, traits: Traits): number | undefined {
  if (operation.do === 'PUT') return uploadStatus(operation, state, traits);
  return statusOf({ ...operation, conditions: {} }, state);
}

function explains({ operation, outcome }: Completed, state: State, status: number | undefined): boolean {
  if (outcome === undefined || status === undefined) return outcome === undefined && status === undefined;
  try {
    assertResponse(operation, state, outcome, status);
    return true;
  } catch (error) {
    if (error instanceof assert.AssertionError) return false;
    throw error;
  }
}
