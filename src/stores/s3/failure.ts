import { type ErrorCode, errnoCode, HotblobError } from '../../contract/errors.js';

/** Of what the service says, wherever the name is clearer than the status, and of the SDK's own errors. */
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
  408: 'ERR_HOTBLOB_UPSTREAM_TIMEOUT',
  429: 'ERR_HOTBLOB_OVERLOADED',
  503: 'ERR_HOTBLOB_OVERLOADED',
  504: 'ERR_HOTBLOB_UPSTREAM_TIMEOUT',
  507: 'ERR_HOTBLOB_STORAGE_FULL',
};

const CUT_OFF = new Set(['ECONNRESET', 'EPIPE']);

/** The HTTP status that the service answered with, undefined for an error that is not its own. */
function statusOfAnswer(error: unknown): number | undefined {
  const metadata = error instanceof Error && '$metadata' in error ? error.$metadata : undefined;
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return undefined;
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined;
}

/** Whether the service said that there is no such object; a missing bucket is not one that holds nothing. */
export function isMissing(error: unknown): boolean {
  return statusOfAnswer(error) === 404 && nameOf(error) !== 'NoSuchBucket';
}

/** Whether a range begins behind the end: the object is empty, or shorter than it was. */
export function isOutOfRange(error: unknown): boolean {
  return statusOfAnswer(error) === 416;
}

/**
 * What a store rejects with for what the SDK has thrown. An answer of the service is told by its name, status and request
 * id and is never the cause: it can hold the request that was signed, session token included (SignatureDoesNotMatch).
 *
 * @param doing what was tried, such as "reading from the bucket 'builds'"
 */
export function failureOf(error: unknown, doing: string): HotblobError {
  if (error instanceof HotblobError) return error;
  const status = statusOfAnswer(error);
  const name = nameOf(error);
  if (status === undefined) {
    // The SDK calls a connection that was cut off a TimeoutError too.
    const isCut = CUT_OFF.has(errnoCode(error) ?? '');
    const code = (isCut ? undefined : CODE_OF_NAME[name]) ?? 'ERR_HOTBLOB_UPSTREAM';
    return new HotblobError(code, `${doing} failed: ${reasonOf(error)}`, { cause: error });
  }
  const answer = /^(?:Error|Unknown.*|\d+)$/.test(name) ? `${status}` : `${status} ${name}`;
  const code = CODE_OF_NAME[name] ?? CODE_OF_STATUS[status] ?? 'ERR_HOTBLOB_UPSTREAM';
  return new HotblobError(code, `${doing} failed: S3 answered ${answer}${hintOf(status)}${requestOf(error)}`);
}

/** An object that has changed between two requests for parts of it: to go on would mix two artifacts. Asking anew helps. */
export function changedMeanwhile(doing: string): HotblobError {
  return new HotblobError('ERR_HOTBLOB_OVERLOADED', `${doing} failed: the object was replaced or deleted meanwhile`);
}

/** An answer that no S3 gives. */
export function brokenAnswer(doing: string, what: string): HotblobError {
  return new HotblobError('ERR_HOTBLOB_UPSTREAM', `${doing} failed: ${what}`);
}

/** The service has said nothing for too long. */
export function silence(doing: string, milliseconds: number): HotblobError {
  return new HotblobError('ERR_HOTBLOB_UPSTREAM_TIMEOUT', `${doing} failed: nothing has come for ${milliseconds} ms`);
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

function reasonOf(error: unknown): string {
  const code = errnoCode(error);
  const message = error instanceof Error ? error.message : 'something was thrown that is not an error';
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}

function hintOf(status: number): string {
  if (status === 401) return ': the credentials are not accepted';
  if (status !== 403) return '';
  return ': access denied; it needs s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload, and s3:ListBucket, without which a miss is refused too';
}

function requestOf(error: unknown): string {
  const metadata: unknown = error instanceof Error && '$metadata' in error ? error.$metadata : undefined;
  const id = typeof metadata === 'object' && metadata !== null && 'requestId' in metadata && metadata.requestId;
  return typeof id === 'string' ? ` (request ${id})` : '';
}
