import assert from 'node:assert/strict';
import {
  assertResponse,
  isDecidedFirst,
  type Outcome,
  type State,
  stateAfter,
  statusOf,
  type Traits,
  uploadStatus,
} from './model.js';
import type { Operation } from './operations.js';

/** An operation of several at the same time, and what has come back. */
export interface Answered {
  readonly operation: Operation;
  readonly outcome: Outcome;
}

/** One that is under way: a condition of an upload or a deletion is looked at first, and what it lets through happens later. */
interface Pending extends Answered {
  readonly isAdmitted: boolean;
}

/**
 * The states that operations may leave behind that were under way at the same time and have been answered so: those of every
 * order in which each happens at one moment. Empty where there is none that explains the answers.
 */
export function statesAfter(answered: readonly Answered[], state: State, traits: Traits): State[] {
  const whole = answered.filter(({ operation }) => !isCutOff(operation));
  const pending = whole.map((each): Pending => ({ ...each, isAdmitted: !isDecidedFirst(each.operation) }));
  return explore(pending, state, traits);
}

/** Its client leaves before the end: whatever it has been answered, nothing is to come of it. */
export function isCutOff(operation: Operation): boolean {
  return operation.do === 'PUT' && operation.upload === 'cut off';
}

function explore(pending: readonly Pending[], state: State, traits: Traits): State[] {
  if (pending.length === 0) return [state];
  return pending.flatMap((each, index) => {
    const others = pending.toSpliced(index, 1);
    if (!each.isAdmitted) {
      const status = statusOf(each.operation, state);
      if (status < 400) return explore(pending.with(index, { ...each, isAdmitted: true }), state, traits);
      return isAnsweredSo(each, state, status) ? explore(others, state, traits) : [];
    }
    const status = effectOf(each.operation, state, traits);
    if (!isAnsweredSo(each, state, status)) return [];
    return explore(others, stateAfter(each.operation, state, status), traits);
  });
}

/** What an operation comes to that its conditions have let through. */
function effectOf(operation: Operation, state: State, traits: Traits): number | undefined {
  if (operation.do === 'PUT') return uploadStatus(operation, state, traits);
  return statusOf({ ...operation, conditions: {} }, state);
}

function isAnsweredSo({ operation, outcome }: Answered, state: State, status: number | undefined): boolean {
  if (outcome === undefined || status === undefined) return outcome === undefined && status === undefined;
  try {
    assertResponse(operation, state, outcome, status);
    return true;
  } catch (error) {
    if (error instanceof assert.AssertionError) return false;
    throw error;
  }
}
