import { type ErrorCode, errnoCode, HotblobError } from '../../contract/errors.js';

/** Error codes by error name: for errors of S3 whose name says more than their status, and for errors of the SDK. */
const CODE_OF_NAME: Readonly<Record<string, ErrorCode>> = {
  CredentialsProviderError: 'ERR_HOTBLOB_UPSTREAM_DENIED',
  EntityTooLarge: 'ERR_HOTBLOB_TOO_LARGE',
  KeyTooLongError: 'ERR_HOTBLOB_KEY_TOO_LONG',
  MetadataTooLarge: 'ERR_HOTBLOB_METADATA_TOO_LARGE',
  QuotaExceeded: 'ERR_HOTBLOB_STORAGE_FULL',
  RequestTimeout: 'ERR_HOTBLOB_UPSTREAM_TIMEOUT',
  SlowDown: 'ERR_HOTBLOB_OVERLOADED',
  Throttling: 'ERR_HOTBLOB_OVERLOADED',
  TimeoutError: 'ERR_HOTBLOB_UPSTREAM_TIMEOUT',
};

const CODE_OF_STATUS: Readonly<Record<number, ErrorCode>> = {
  401: 'ERR_HOTBLOB_UPSTREAM_DENIED',
  403: 'ERR_HOTBLOB_UPSTREAM_DENIED',
  405: 'ERR_HOTBLOB_UPSTREAM_DENIED',
  408: 'ERR_HOTBLOB_UPSTREAM_TIMEOUT',
  429: 'ERR_HOTBLOB_OVERLOADED',
  501: 'ERR_HOTBLOB_UPSTREAM_DENIED',
  503: 'ERR_HOTBLOB_OVERLOADED',
  504: 'ERR_HOTBLOB_UPSTREAM_TIMEOUT',
  507: 'ERR_HOTBLOB_STORAGE_FULL',
};

const RESET_CODES = new Set(['ECONNRESET', 'EPIPE']);

/** Returns the HTTP status of an error response, or undefined if there was no response. */
function responseStatus(error: unknown): number | undefined {
  const metadata = error instanceof Error && '$metadata' in error ? error.$metadata : undefined;
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return undefined;
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined;
}

/** Returns whether the object does not exist. A missing bucket is an error, not a miss. */
export function isMissing(error: unknown): boolean {
  return responseStatus(error) === 404 && nameOf(error) !== 'NoSuchBucket';
}

/**
 * Returns whether the requested range starts at or behind the end of the object. The object is empty or has become
 * shorter.
 */
export function isOutOfRange(error: unknown): boolean {
  return responseStatus(error) === 416;
}

/** Returns whether the object no longer has the entity tag given in `If-Match`. */
export function isPreconditionFailed(error: unknown): boolean {
  return error instanceof Error && error.name === 'PreconditionFailed';
}

/**
 * Returns whether S3 refused to create an object with `If-None-Match: *`: it exists (412), or another request creates it at the
 * same time (409).
 */
export function isConflict(error: unknown): boolean {
  return isPreconditionFailed(error) || (error instanceof Error && error.name === 'ConditionalRequestConflict');
}

/**
 * Converts an error of the SDK. For an error response, the message has the name, the status and the request id. The
 * response itself never becomes the `cause`, because it can contain the signed request with the session token
 * (SignatureDoesNotMatch).
 *
 * @param action action that failed, such as `reading from the bucket 'builds'`
 */
export function toHotblobError(error: unknown, action: string): HotblobError {
  if (error instanceof HotblobError) return error;
  const status = responseStatus(error);
  const name = nameOf(error);
  if (status === undefined) {
    // The SDK reports a connection reset as a TimeoutError, too.
    const isReset = RESET_CODES.has(errnoCode(error) ?? '');
    const code = (isReset ? undefined : CODE_OF_NAME[name]) ?? 'ERR_HOTBLOB_UPSTREAM';
    return new HotblobError(code, `${action} failed: ${reasonOf(error)}`, { cause: error });
  }
  const response = /^(?:Error|Unknown.*|\d+)$/.test(name) ? `${status}` : `${status} ${name}`;
  const code = CODE_OF_NAME[name] ?? CODE_OF_STATUS[status] ?? 'ERR_HOTBLOB_UPSTREAM';
  return new HotblobError(code, `${action} failed: S3 responded ${response}${hintFor(status)}${requestIdOf(error)}`);
}

/**
 * Returns the error for an object that changed between two requests of one download. If the download continued, it
 * would mix two artifacts. The status of the error tells the client to try again.
 */
export function objectChanged(action: string): HotblobError {
  return new HotblobError(
    'ERR_HOTBLOB_OVERLOADED',
    `${action} failed: the object was replaced or deleted during the download`,
  );
}

/** Returns the error for a response that violates the S3 API. */
export function invalidResponse(action: string, reason: string): HotblobError {
  return new HotblobError('ERR_HOTBLOB_UPSTREAM', `${action} failed: ${reason}`);
}

/** Returns the error for a response body that has stalled for `timeoutMs`. */
export function bodyTimeout(action: string, timeoutMs: number): HotblobError {
  return new HotblobError('ERR_HOTBLOB_UPSTREAM_TIMEOUT', `${action} failed: no data received for ${timeoutMs} ms`);
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

function reasonOf(error: unknown): string {
  const code = errnoCode(error);
  const message = error instanceof Error ? error.message : 'a value that is not an Error was thrown';
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}

function hintFor(status: number): string {
  if (status === 401) return ': credentials not accepted';
  if (status !== 403) return '';
  return ': access denied; the store needs s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket (without s3:ListBucket, S3 responds 403 to a miss)';
}

function requestIdOf(error: unknown): string {
  const metadata: unknown = error instanceof Error && '$metadata' in error ? error.$metadata : undefined;
  const id = typeof metadata === 'object' && metadata !== null && 'requestId' in metadata && metadata.requestId;
  return typeof id === 'string' ? ` (request ${id})` : '';
}
