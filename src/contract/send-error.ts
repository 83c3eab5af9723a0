import { errnoCode, HotblobError, statusOf } from './errors.js';

/**
 * Why an artifact could not be sent. Nothing has been answered: that is the error handling's of the host, which finds here
 * what Express, Koa and Fastify look for. The message names no path, because some hosts show it to clients; the `cause` does.
 */
export class SendError extends Error {
  /** `SendError`. */
  override readonly name = 'SendError';
  /** One of `ErrorCode`, or the system's: `EACCES`, `EIO` and so on; `ERR_HOTBLOB_INTERNAL` for an error without a code. */
  readonly code: string;
  /** The HTTP status that fits. */
  readonly status: number;
  /** The same, under the name that some hosts know. */
  readonly statusCode: number;
  /** Response headers that belong to the status. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(cause: unknown) {
    const code = cause instanceof HotblobError ? cause.code : (errnoCode(cause) ?? 'ERR_HOTBLOB_INTERNAL');
    super(`the artifact cannot be sent: ${code}`, { cause });
    this.code = code;
    this.status = DENIED.has(code) ? 403 : statusOf(cause);
    this.statusCode = this.status;
    this.headers = this.status === 503 ? { 'retry-after': '1' } : {};
  }
}

const DENIED = new Set(['EACCES', 'EPERM']);
