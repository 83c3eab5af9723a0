import { type AccessLevel, CheckedGrant } from './grant.js';

/** Token or rule that applies to a request for the pages of operators. */
export interface OperatorRule {
  readonly grant: CheckedGrant;
  /** Whether its protocols name the pages of operators. */
  readonly isNamed: boolean;
  /** Whether the policy has scopes. */
  readonly hasScopes: boolean;
}

/**
 * Returns the access to the pages of operators, without scopes: the pages show the artifacts of all of them. With `overwrite: false`,
 * the client cannot purge. A client that is meant for builds must not delete the artifacts of others: if there are scopes, only a
 * token or rule that names the pages may.
 */
export function operatorGrant({ grant, isNamed, hasScopes }: OperatorRule): AccessLevel | CheckedGrant {
  const { level } = grant;
  if (level !== 'write') return level;
  const overwrite = grant.overwrite ?? (isNamed ? true : hasScopes ? false : undefined);
  return overwrite === undefined ? level : new CheckedGrant({ level, overwrite });
}
