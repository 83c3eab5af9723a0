import type { IncomingHttpHeaders } from 'node:http';
import { type HttpDate, parseHttpDate } from './http-date.js';

/** What tells one state of a resource from another (RFC 9110, 8.8). */
export interface Validators {
  /** As it stands in the header, quotes included. */
  readonly etag: string | undefined;
  readonly lastModified: HttpDate | undefined;
}

/** Go on with the method, or answer with this status instead. */
export type PreconditionOutcome = 'proceed' | 304 | 412;

/**
 * Evaluates the conditional headers of a request in the order of RFC 9110, 13.2.2. If-Range is not among them: see
 * {@link ifRangeHolds}.
 *
 * @param current what is there now; undefined when there is nothing. A request that would end in an error such as 404
 * without its conditions must end so with them (13.2.1): ask only when it would succeed
 */
export function evaluatePreconditions(
  method: 'GET' | 'HEAD' | 'PUT' | 'DELETE',
  request: IncomingHttpHeaders,
  current: Validators | undefined,
): PreconditionOutcome {
  const ifMatch = request['if-match'];
  const ifUnmodifiedSince = request['if-unmodified-since'];
  if (ifMatch !== undefined) {
    if (!isListed(current, ifMatch, 'strong')) return 412;
  } else if (ifUnmodifiedSince !== undefined && isModifiedSince(current, ifUnmodifiedSince) === true) {
    return 412;
  }
  const reading = method === 'GET' || method === 'HEAD';
  const ifNoneMatch = request['if-none-match'];
  const ifModifiedSince = request['if-modified-since'];
  if (ifNoneMatch !== undefined) {
    if (isListed(current, ifNoneMatch, 'weak')) return reading ? 304 : 412;
  } else if (reading && ifModifiedSince !== undefined && isModifiedSince(current, ifModifiedSince) === false) {
    return 304;
  }
  return 'proceed';
}

/**
 * Whether an If-Range header lets the Range header beside it count (RFC 9110, 13.1.5): a strong entity tag that is
 * the current one or, of what has no entity tag, exactly its date. A wrong yes would join the bytes of two artifacts, so
 * anything else is a no.
 */
export function ifRangeHolds(value: string, current: Validators): boolean {
  if (value.startsWith('"')) return value === current.etag;
  // Two artifacts that were put within a second have one date. Clients that have a tag are not to send a date.
  if (current.etag !== undefined) return false;
  const seconds = parseHttpDate(value);
  return seconds !== undefined && seconds === current.lastModified?.seconds;
}

// Sticky, so that the first thing that is no entity tag ends the list. The quotes delimit a tag, whatever stands between
// them: a comma does not, and backslashes escape nothing (RFC 9110, 8.8.3). The neighbouring parts have no character in
// common, so that a list takes linear time.
const ENTITY_TAG = /[ \t,]*(W\/)?("[^"]*")/gy;

/**
 * Whether the list of If-Match or If-None-Match names the current representation (RFC 9110, 13.1.1, 13.1.2 and 8.8.3.2).
 * In a malformed list the tags before the fault count.
 */
function isListed(current: Validators | undefined, list: string, comparison: 'strong' | 'weak'): boolean {
  if (current === undefined) return false;
  if (list.trim() === '*') return true;
  const { etag } = current;
  if (etag === undefined) return false;
  const currentIsWeak = etag.startsWith('W/');
  if (comparison === 'strong' && currentIsWeak) return false;
  const currentOpaque = currentIsWeak ? etag.slice(2) : etag;
  for (const [, weak, opaque] of list.matchAll(ENTITY_TAG)) {
    if (opaque === currentOpaque && (weak === undefined || comparison === 'weak')) return true;
  }
  return false;
}

/** Undefined where the header is to be ignored: no HTTP date, or nothing to compare it with (RFC 9110, 13.1.3 and 13.1.4). */
function isModifiedSince(current: Validators | undefined, date: string): boolean | undefined {
  if (current?.lastModified === undefined) return undefined;
  const seconds = parseHttpDate(date);
  return seconds === undefined ? undefined : current.lastModified.seconds > seconds;
}
