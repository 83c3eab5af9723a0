import type { IncomingHttpHeaders } from 'node:http';
import { type HttpDate, parseHttpDate } from './http-date.js';

/** Validators of a representation (RFC 9110, section 8.8). */
export interface Validators {
  /** Entity tag as it appears in the header, quotes included. */
  readonly etag: string | undefined;
  readonly lastModified: HttpDate | undefined;
}

/** `proceed` if the preconditions hold, otherwise the status of the response. */
export type PreconditionOutcome = 'proceed' | 304 | 412;

/**
 * Evaluates the conditional headers of a request in the order of RFC 9110, section 13.2.2. {@link ifRangeHolds}
 * evaluates If-Range.
 *
 * Call it only if the request would succeed without its preconditions. A request that fails without them, for example
 * with 404, must fail in the same way with them (section 13.2.1).
 *
 * @param current validators of the current representation; `undefined` if there is none
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
  const isRead = method === 'GET' || method === 'HEAD';
  const ifNoneMatch = request['if-none-match'];
  const ifModifiedSince = request['if-modified-since'];
  if (ifNoneMatch !== undefined) {
    if (isListed(current, ifNoneMatch, 'weak')) return isRead ? 304 : 412;
  } else if (isRead && ifModifiedSince !== undefined && isModifiedSince(current, ifModifiedSince) === false) {
    return 304;
  }
  return 'proceed';
}

/**
 * Returns whether an If-Range header allows a partial response (RFC 9110, section 13.1.5). Its value must be the
 * current strong entity tag, or exactly the date of a representation without an entity tag. Everything else is
 * rejected, because a wrong match would combine bytes of two artifacts.
 */
export function ifRangeHolds(value: string, current: Validators): boolean {
  if (value.startsWith('"')) return value === current.etag;
  // Two artifacts stored within one second have the same date. Clients must not send a date if they have an entity tag.
  if (current.etag !== undefined) return false;
  const seconds = parseHttpDate(value);
  return seconds !== undefined && seconds === current.lastModified?.seconds;
}

// The expression is sticky, so that the list ends at the first text that is not an entity tag. Only quotes delimit a
// tag: commas can be part of it, and there are no escapes (RFC 9110, section 8.8.3). Adjacent parts of the expression
// match different characters, so matching takes linear time.
const ENTITY_TAG = /[ \t,]*(W\/)?("[^"]*")/gy;

/**
 * Returns whether the list of an If-Match or If-None-Match header contains the current entity tag (RFC 9110, sections
 * 13.1.1, 13.1.2 and 8.8.3.2). In a malformed list, the tags before the error count.
 */
function isListed(current: Validators | undefined, list: string, comparison: 'strong' | 'weak'): boolean {
  if (current === undefined) return false;
  if (matchesAny(list)) return true;
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

/** Whether an If-Match or If-None-Match header is `*`. Several fields with `*` count as one. */
export function matchesAny(list: string | undefined): boolean {
  return list?.trimStart().startsWith('*') === true;
}

/**
 * Returns whether the representation was modified after `date`. Returns `undefined` if the header must be ignored: its
 * value is not an HTTP date, or the representation has no date (RFC 9110, sections 13.1.3 and 13.1.4).
 */
function isModifiedSince(current: Validators | undefined, date: string): boolean | undefined {
  if (current?.lastModified === undefined) return undefined;
  const seconds = parseHttpDate(date);
  return seconds === undefined ? undefined : current.lastModified.seconds > seconds;
}
