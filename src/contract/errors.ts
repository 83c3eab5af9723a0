import { printableLines } from '../util/printable.js';
import { retryAfterSeconds } from '../util/retry-after.js';

/**
 * Every error code, with the HTTP status of a request that fails with it and a summary that names no path, key or host. The
 * page docs/troubleshooting.md has an entry for each code: the cause, and what to do.
 */
const CODES = {
  ERR_HOTBLOB_INVALID_OPTION: { status: 500, summary: 'an option is missing, unknown or of the wrong type' },
  ERR_HOTBLOB_INVALID_STORE: { status: 500, summary: 'the store lacks a required method' },
  ERR_HOTBLOB_INVALID_ARTIFACT: { status: 500, summary: 'the value is not a valid artifact' },
  ERR_HOTBLOB_NOT_FOUND: { status: 404, summary: 'the file does not exist or is not a regular file' },
  ERR_HOTBLOB_INVALID_KEY: { status: 400, summary: 'the key or path is not valid' },
  ERR_HOTBLOB_KEY_TOO_LONG: { status: 414, summary: 'the key is too long' },
  ERR_HOTBLOB_TOO_LARGE: { status: 413, summary: 'the upload is larger than the limit' },
  ERR_HOTBLOB_UPLOAD_TIMEOUT: { status: 408, summary: 'the client sent its upload too slowly' },
  ERR_HOTBLOB_INCOMPLETE: { status: 400, summary: 'the upload ended before its announced length' },
  ERR_HOTBLOB_DIGEST: { status: 400, summary: 'the upload does not match its digest' },
  ERR_HOTBLOB_BODY_CONSUMED: { status: 500, summary: 'something in front of the handler has read the request body' },
  ERR_HOTBLOB_CROSS_ORIGIN: { status: 403, summary: 'the request comes from a web page of another origin' },
  ERR_HOTBLOB_HOST_NOT_ALLOWED: { status: 421, summary: 'the request is for a host that is not allowed' },
  ERR_HOTBLOB_BAD_REQUEST: { status: 400, summary: 'the request is not valid in its protocol' },
  ERR_HOTBLOB_CONTENT_CODING: { status: 415, summary: 'the content coding of the request body is not supported' },
  ERR_HOTBLOB_TRANSFER_CODING: { status: 501, summary: 'the transfer coding of the request body is not supported' },
  ERR_HOTBLOB_UNPROCESSABLE: { status: 422, summary: 'the request is well-formed but cannot be processed' },
  ERR_HOTBLOB_EXISTS: { status: 412, summary: 'the key already has an artifact' },
  ERR_HOTBLOB_WRITE_ONCE: { status: 403, summary: 'the client may not replace or delete artifacts' },
  ERR_HOTBLOB_PURGING: { status: 409, summary: 'another purge of the store is running' },
  ERR_HOTBLOB_READ_ONLY: { status: 405, summary: 'the store is read-only' },
  ERR_HOTBLOB_METADATA_TOO_LARGE: { status: 431, summary: 'the metadata of the upload is too large' },
  ERR_HOTBLOB_STORAGE_FULL: { status: 507, summary: 'the store is full' },
  ERR_HOTBLOB_OVERLOADED: { status: 503, summary: 'all descriptors or buffers are in use' },
  ERR_HOTBLOB_CLOSED: { status: 503, summary: 'the store is closed' },
  ERR_HOTBLOB_WRITER_GONE: { status: 503, summary: 'the process that writes to the shared store is gone' },
  ERR_HOTBLOB_TRUNCATED: { status: 500, summary: 'the file or stream is shorter than the artifact' },
  ERR_HOTBLOB_REWRITTEN: { status: 500, summary: 'the file was rewritten in place while it was sent' },
  ERR_HOTBLOB_CORRUPT: { status: 500, summary: 'the stored bytes differ from what was written' },
  ERR_HOTBLOB_LOCKED: { status: 500, summary: 'the directory is already open for writing' },
  ERR_HOTBLOB_NO_LMDB: { status: 500, summary: 'the optional dependency lmdb is not installed or does not load' },
  ERR_HOTBLOB_UPSTREAM: { status: 502, summary: 'the upstream cache is unreachable or its response is not valid' },
  ERR_HOTBLOB_UPSTREAM_DENIED: { status: 502, summary: 'the upstream cache refused the request' },
  ERR_HOTBLOB_UPSTREAM_TIMEOUT: { status: 504, summary: 'the upstream cache did not respond in time' },
  ERR_HOTBLOB_HEADERS_SENT: { status: 500, summary: 'the response headers were already sent' },
  ERR_HOTBLOB_CLIENT_GONE: { status: 499, summary: 'the client disconnected or the host ended the response' },
} as const satisfies Record<string, { readonly status: number; readonly summary: string }>;

/**
 * Code of a {@link HotblobError}. Codes are stable across versions. Each code has an entry in docs/troubleshooting.md,
 * for example `docs/troubleshooting.md#err_hotblob_invalid_option`.
 */
export type ErrorCode = keyof typeof CODES;

/** Every error that this package throws. Messages are for programmers and logs; clients get a general sentence about the status. */
export class HotblobError extends Error {
  /** Class name. */
  override readonly name = 'HotblobError';
  /** Code that identifies the error. Compare the code, not the message, because messages may change. */
  readonly code: ErrorCode;
  // These are own, writable properties, because Koa and other frameworks assign to them.
  /** HTTP status of a request that fails with this error. */
  status: number;
  /** HTTP status, like `status`. Express and Fastify read this property. */
  statusCode: number;
  /** Whether a framework may show the message to the client. Always false, because messages contain paths of files. */
  expose: boolean;
  /** Response headers that belong to the status: `retry-after` for 503. */
  headers: Record<string, string>;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    // Messages contain keys, paths and texts of other servers, and end up in logs and on terminals.
    super(printableLines(message), options);
    this.code = code;
    this.status = CODES[code].status;
    this.statusCode = this.status;
    this.expose = false;
    this.headers = errorHeaders(this.status);
  }
}

/** Returns the response headers that belong to the status of an error. */
export function errorHeaders(status: number): Record<string, string> {
  return status === 503 || status === 429 ? { 'retry-after': String(retryAfterSeconds()) } : {};
}

const STATUS_OF_ERRNO: Readonly<Record<string, number>> = {
  EACCES: 403,
  EPERM: 403,
  ENOSPC: 507,
  EDQUOT: 507,
  EMFILE: 503,
  ENFILE: 503,
  ENOMEM: 503,
};

/**
 * Returns the HTTP status for a value that a store or the system threw. If its code has no status of its own, returns
 * 500.
 */
export function statusOf(error: unknown): number {
  if (error instanceof HotblobError) return error.status;
  const code = errnoCode(error);
  return (code !== undefined && STATUS_OF_ERRNO[code]) || 500;
}

/** Statuses below 500 of valid requests that the server did not perform: uploads that are too slow or too large for it. */
const LIMIT_STATUSES: ReadonlySet<number> = new Set([408, 413]);
/** Errors that are mistakes of the request or of the application, although their status is 500 or more. */
const MISTAKES: ReadonlySet<string | undefined> = new Set(['ERR_HOTBLOB_TRANSFER_CODING', 'ERR_HOTBLOB_BODY_CONSUMED']);

/**
 * Returns whether an error response means that the server did not perform a valid request with valid credentials.
 *
 * @param error error that the response reports
 */
export function isServerFailure(status: number, error: unknown): boolean {
  const code = errnoCode(error);
  if (MISTAKES.has(code)) return false;
  return status >= 500 || LIMIT_STATUSES.has(status) || code === 'ERR_HOTBLOB_READ_ONLY' || isDenied(error);
}

/** Returns whether the system refused an operation because of permissions of the process, not of the client. */
export function isDenied(error: unknown): boolean {
  const code = errnoCode(error);
  return code === 'EACCES' || code === 'EPERM';
}

/** Returns the summary of an error code: a sentence without paths, keys or hosts. */
export function summaryOf(code: ErrorCode): string {
  return CODES[code].summary;
}

/** Returns whether `code` is an {@link ErrorCode}. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(CODES, code);
}

/**
 * Returns the `code` of a thrown value, such as `ENOENT`. Does not use instanceof, because Jest runs tests in a realm
 * with an Error class of its own.
 */
export function errnoCode(error: unknown): string | undefined {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

const CLIENT_MESSAGES: Readonly<Record<number, string>> = {
  400: 'The request is not valid.',
  401: 'Authentication required.',
  403: 'Access denied.',
  404: 'Not found.',
  405: 'Method not allowed.',
  408: 'The upload took too long.',
  409: 'The cache already has an artifact under this key, and keeps it.',
  412: 'A precondition of the request failed.',
  413: 'The upload is too large.',
  414: 'The key is too long.',
  415: 'The content coding of the request is not supported.',
  416: 'The range cannot be satisfied.',
  421: 'The host of the request is not allowed here. The option allowedHosts (hotblob serve: --allow-host) names allowed hosts.',
  422: 'The request cannot be processed.',
  431: 'The request headers are too large.',
  500: 'Internal server error.',
  501: 'The transfer coding of the request is not supported.',
  502: 'The upstream cache failed to respond.',
  503: 'The server is busy. Try again later.',
  504: 'The upstream cache did not respond in time.',
  507: 'The server has no storage space left.',
};

/** Messages of errors whose status alone does not say what to do. */
const MESSAGES_BY_CODE: Readonly<Record<string, string>> = {
  ERR_HOTBLOB_CROSS_ORIGIN:
    'The request comes from a web page of another origin. The option cors of the handler names origins that may send it.',
  ERR_HOTBLOB_WRITE_ONCE: 'Artifacts of this cache cannot be replaced or deleted with these credentials.',
  ERR_HOTBLOB_PURGING: 'Another purge is running. Try again when it has ended.',
  ERR_HOTBLOB_READ_ONLY:
    'The cache is read-only. hotblob serve on an address other than loopback accepts uploads with --tokens, --oidc or --writable.',
};

/**
 * Returns the text that a client gets with an HTTP status. It never contains a stack, a path or a key.
 *
 * @param error error that the response reports
 */
export function clientMessage(status: number, error?: unknown): string {
  const code = errnoCode(error);
  const message = code !== undefined && Object.hasOwn(MESSAGES_BY_CODE, code) ? MESSAGES_BY_CODE[code] : undefined;
  return message ?? CLIENT_MESSAGES[status] ?? `Status ${status}.`;
}
