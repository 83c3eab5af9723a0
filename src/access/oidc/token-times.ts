import type { Claims } from './claims.js';

/** Limits on the validity of a token. */
export interface TimeLimits {
  readonly minLifetimeMs: number;
  readonly clockToleranceMs: number;
}

/**
 * Returns the time until which a token is accepted, in milliseconds since 1970, or `undefined` if it is not valid at
 * `now`. A token needs an `exp` claim (RFC 7519, section 4.1.4); `nbf` and `iat` are checked if it has them.
 */
export function validUntil(claims: Claims, now: number, limits: TimeLimits): number | undefined {
  const { minLifetimeMs, clockToleranceMs } = limits;
  const { exp, nbf, iat } = claims;
  if (!isTime(exp) || !(nbf === undefined || isTime(nbf)) || !(iat === undefined || isTime(iat))) return undefined;
  const latest = now + clockToleranceMs;
  // A token from the future would be valid for longer than its issuer intended.
  if ((nbf !== undefined && nbf * 1000 > latest) || (iat !== undefined && iat * 1000 > latest)) return undefined;
  const extended = iat === undefined ? 0 : iat * 1000 + minLifetimeMs;
  const end = Math.max(exp * 1000, minLifetimeMs === 0 ? 0 : extended) + clockToleranceMs;
  return now < end ? end : undefined;
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}
