import { getSystemErrorMap } from 'node:util';
import { errnoCode, errorHeaders, HotblobError, isErrorCode, statusOf, summaryOf } from './errors.js';

/**
 * Error of an artifact that could not be sent. Nothing has been sent yet, so the error handler of the host can still
 * respond: Express, Koa, Fastify and Nest read the properties below. The message contains no path, because some hosts
 * show it to clients. The path is in the message of `cause`.
 */
export class SendError extends Error {
  /** Class name. */
  override readonly name = 'SendError';
  /**
   * Error code: an {@link ErrorCode}, a code of the system such as `EACCES`, or `ERR_HOTBLOB_INTERNAL` if the cause has
   * no code. A missing file has `ERR_HOTBLOB_NOT_FOUND`.
   */
  readonly code: string;
  // These are own, writable properties, because Koa and other frameworks assign to them.
  /**
   * HTTP status: 404 if the file does not exist, 403 if the process may not read it, 503 if the server is overloaded,
   * otherwise the status of the cause.
   */
  status: number;
  /** HTTP status, like `status`. Express and Fastify read this property. */
  statusCode: number;
  /**
   * Whether a framework may show the message to the client. True if `status` is below 500, as in the package
   * http-errors.
   */
  expose: boolean;
  /** Response headers that belong to the status: `retry-after` for 503. */
  headers: Record<string, string>;

  constructor(cause: unknown) {
    const code = errnoCode(cause) ?? 'ERR_HOTBLOB_INTERNAL';
    super(`cannot send the artifact: ${summary(cause, code)}`, { cause });
    this.code = code;
    this.status = statusOf(cause);
    this.statusCode = this.status;
    this.expose = this.status < 500;
    this.headers = cause instanceof HotblobError ? { ...cause.headers } : errorHeaders(this.status);
  }
}

function summary(cause: unknown, code: string): string {
  if (cause instanceof HotblobError && isErrorCode(code)) return summaryOf(code);
  const errno = typeof cause === 'object' && cause !== null && 'errno' in cause ? Number(cause.errno) : 0;
  const text = getSystemErrorMap().get(errno)?.[1];
  return text === undefined ? 'internal error' : `${text} (${code})`;
}
