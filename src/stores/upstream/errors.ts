import { HotblobError } from '../../contract/errors.js';

/**
 * Returns the error for a request without a valid response.
 *
 * @param origin scheme, host and port of the upstream, without credentials
 */
export function upstreamError(origin: string, cause: unknown): HotblobError {
  if (cause instanceof HotblobError) return cause;
  const reason = cause instanceof Error ? cause.message || cause.name : String(cause);
  return new HotblobError('ERR_HOTBLOB_UPSTREAM', `${origin}: ${reason}`, { cause });
}

/** @param expectation description of the missing event, as a `Deadline` reports it */
export function upstreamTimeout(origin: string, expectation: string): HotblobError {
  return new HotblobError('ERR_HOTBLOB_UPSTREAM_TIMEOUT', `${origin}: no ${expectation}`);
}

/** Returns the error for a response whose status is neither a success nor a miss. */
export function unexpectedStatus(origin: string, method: string, status: number): HotblobError {
  const message = `${origin}: received status ${status} for ${method}`;
  if (status === 414) return new HotblobError('ERR_HOTBLOB_KEY_TOO_LONG', message);
  if (status === 413 && method === 'PUT') return new HotblobError('ERR_HOTBLOB_TOO_LARGE', message);
  if (status === 431 && method === 'PUT') return new HotblobError('ERR_HOTBLOB_METADATA_TOO_LARGE', message);
  if (status === 507 && method === 'PUT') return new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message);
  const code = isRefusal(status) ? 'ERR_HOTBLOB_UPSTREAM_DENIED' : 'ERR_HOTBLOB_UPSTREAM';
  return new HotblobError(code, message);
}

/** Returns whether the status says that the upstream works, but does not accept the request: for example, it is read-only. */
function isRefusal(status: number): boolean {
  return (status >= 300 && status < 500 && status !== 408 && status !== 429) || status === 501;
}

/**
 * Error of a connection that ended before the response headers. `UpstreamClient` catches it, and either retries the
 * request or rejects with the cause.
 */
export class ConnectionLostError extends Error {
  /**
   * `true` if it is certain that the upstream has not processed the request. Any request may then be retried (RFC 9113,
   * 8.7).
   */
  readonly isUnprocessed: boolean;

  constructor(isUnprocessed: boolean, cause: unknown) {
    super('the connection ended before the response', { cause });
    this.isUnprocessed = isUnprocessed;
  }
}
