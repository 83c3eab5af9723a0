import { isPromise } from '../util/is-promise.js';
import { type AccessLevel, includes } from './grant.js';
import { assertHiddenOptions, hiddenOption } from './hidden-options.js';
import type { AccessDecision, AccessPolicy, AccessRequest } from './policy.js';
import { ANONYMOUS, OPERATOR_PROTOCOL } from './token-syntax.js';

/** Options of {@link anyAccess}. */
export interface AnyAccessOptions {
  /**
   * Minimum access level of every client, whether or not a policy knows it. Not for the operators' pages. Set it here instead of in the combined policies:
   * a policy that grants access to unknown clients would decide for all of them. Default: `'none'`.
   */
  readonly anonymous?: AccessLevel | undefined;
}

/**
 * Combines policies, for example tokens in a file and tokens of CI systems. They are asked in order. The first that grants any
 * access decides, and the others are not asked.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid argument
 */
export function anyAccess(policies: readonly AccessPolicy[], options: AnyAccessOptions = {}): AccessPolicy {
  assertHiddenOptions('', options, { anonymous: ANONYMOUS });
  if (!Array.isArray(policies) || !policies.every((policy) => typeof policy === 'function')) {
    throw hiddenOption('policies', 'an array of access policies', policies);
  }
  const { anonymous = 'none' } = options;
  const list = [...policies];
  const ask = (request: AccessRequest, start: number): AccessDecision | Promise<AccessDecision> => {
    // Without an iterator, because this runs for each request.
    for (let index = start; index < list.length; index++) {
      const decision = (list[index] as AccessPolicy)(request); // the index is in the list
      if (isPromise(decision)) {
        return Promise.resolve(decision).then((awaited) => (grantsAccess(awaited) ? awaited : ask(request, index + 1)));
      }
      if (grantsAccess(decision)) return decision;
    }
    return 'none';
  };
  return (request) => {
    const decision = ask(request, 0);
    return isPromise(decision)
      ? decision.then((awaited) => atLeast(anonymous, awaited, request))
      : atLeast(anonymous, decision, request);
  };
}

/** A value that is neither a level nor a grant decides, too: the handler reports it as an error of the policy. */
function grantsAccess(decision: AccessDecision): boolean {
  return decision !== 'none' && (typeof decision !== 'object' || decision?.level !== 'none');
}

/**
 * Returns the decision, or the anonymous level if only that permits the operation. The two are never mixed: a client that may only
 * read the scope of its grant must not write to that scope because every client may write to the default scope.
 */
function atLeast(
  anonymous: AccessLevel,
  decision: AccessDecision,
  { operation, protocol }: AccessRequest,
): AccessDecision {
  // The operators' pages show the artifacts of all scopes, and any of the policies can know scopes.
  if (protocol === OPERATOR_PROTOCOL) return withoutPurge(decision);
  if (!grantsAccess(decision)) return anonymous;
  const level = typeof decision === 'object' ? decision.level : decision;
  return operation !== 'read' && level === 'read' && includes(anonymous, 'write') ? anonymous : decision;
}

/**
 * Returns the decision about the operators' pages so that only a grant that says so permits to purge: the purge deletes artifacts of
 * all scopes, and a policy does not know whether the others have scopes.
 */
function withoutPurge(decision: AccessDecision): AccessDecision {
  if (decision === 'write') return { level: 'write', overwrite: false };
  if (typeof decision !== 'object' || decision?.level !== 'write' || decision.overwrite === true) return decision;
  return { ...decision, overwrite: false };
}
