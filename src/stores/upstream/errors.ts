import { HotblobError } from '../../contract/errors.js';

/** What a cache that cannot be had makes of a request. `origin` holds no credentials. */
export function upstreamFailed(origin: string, cause: unknown): HotblobError {
  if (cause instanceof HotblobError) return cause;
  const reason = cause instanceof Error ? cause.message || cause.name : String(cause);
  return new HotblobError('ERR_HOTBLOB_UPSTREAM', `${origin}: ${reason}`, { cause });
}

/** `waitedFor` says for what, and how long. */
export function upstreamLate(origin: string, waitedFor: string): HotblobError {
  return new HotblobError('ERR_HOTBLOB_UPSTREAM_TIMEOUT', `${origin}: no ${waitedFor}`);
}

/** What an answer means that is neither what was asked for nor a miss. */
export function upstreamRefused(origin: string, method: string, status: number): HotblobError {
  const message = `${origin}: ${method} was answered with ${status}`;
  if (status === 401 || status === 403) return new HotblobError('ERR_HOTBLOB_UPSTREAM_DENIED', message);
  if (status === 414) return new HotblobError('ERR_HOTBLOB_KEY_TOO_LONG', message);
  if (status === 413 && method === 'PUT') return new HotblobError('ERR_HOTBLOB_TOO_LARGE', message);
  if (status === 431 && method === 'PUT') return new HotblobError('ERR_HOTBLOB_METADATA_TOO_LARGE', message);
  if (status === 507 && method === 'PUT') return new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message);
  return new HotblobError('ERR_HOTBLOB_UPSTREAM', message);
}

/**
 * A connection ended before a request had an answer. Not what a store's user sees: the request is sent again, or its
 * cause is told.
 */
export class Unanswered extends Error {
  /** Whether the peer has certainly done nothing with the request (RFC 9113, 8.7), so that any may be sent again. */
  readonly isUnprocessed: boolean;

  constructor(isUnprocessed: boolean, cause: unknown) {
    super('the connection ended before the answer', { cause });
    this.isUnprocessed = isUnprocessed;
  }
}
