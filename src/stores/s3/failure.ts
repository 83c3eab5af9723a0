import { type ErrorCode, errnoCode, HotblobError } from '../../errors.js';

/** The service or the way to it has failed: later it may work, and the SDK has tried again already. */
const UNAVAILABLE: ErrorCode = 'ERR_HOTBLOB_OVERLOADED';
/** The service has understood and refuses: somebody has to change the credentials, the policy or the options. */
const REFUSED: ErrorCode = 'ERR_HOTBLOB_INVALID_OPTION';

/** What the service says itself, wherever that is clearer than its status. */
const CODE_OF_NAME: Readonly<Record<string, ErrorCode>> = {
  EntityTooLarge: 'ERR_HOTBLOB_TOO_LARGE',
  KeyTooLongError: 'ERR_HOTBLOB_KEY_TOO_LONG',
  QuotaExceeded: 'ERR_HOTBLOB_STORAGE_FULL',
  // Names of 4xx answers that are the moment's.
  ConditionalRequestConflict: UNAVAILABLE,
  IncompleteBody: UNAVAILABLE,
  OperationAborted: UNAVAILABLE,
  PreconditionFailed: UNAVAILABLE,
  RequestTimeout: UNAVAILABLE,
  SlowDown: UNAVAILABLE,
  Throttling: UNAVAILABLE,
  // Of the SDK itself: it had no credentials to sign with.
  CredentialsProviderError: REFUSED,
  TimeoutError: UNAVAILABLE,
};

const CODE_OF_STATUS: Readonly<Record<number, ErrorCode>> = {
  408: UNAVAILABLE,
  412: UNAVAILABLE,
  429: UNAVAILABLE,
  507: 'ERR_HOTBLOB_STORAGE_FULL',
};

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
    const code = CODE_OF_NAME[name] ?? (errnoCode(error) === undefined ? REFUSED : UNAVAILABLE);
    return new HotblobError(code, `${doing} failed: ${reasonOf(error)}`, { cause: error });
  }
  const answer = /^(?:Error|Unknown.*|\d+)$/.test(name) ? `${status}` : `${status} ${name}`;
  const code = CODE_OF_NAME[name] ?? CODE_OF_STATUS[status] ?? (status >= 500 ? UNAVAILABLE : REFUSED);
  return new HotblobError(code, `${doing} failed: S3 answered ${answer}${hintOf(status)}${requestOf(error)}`);
}

/** An object that has changed between two requests for parts of it: to go on would mix two artifacts. */
export function changedMeanwhile(doing: string): HotblobError {
  return new HotblobError(UNAVAILABLE, `${doing} failed: the object was replaced or deleted meanwhile`);
}

/** An answer that no S3 gives. */
export function brokenAnswer(doing: string, what: string): HotblobError {
  return new HotblobError(UNAVAILABLE, `${doing} failed: ${what}`);
}

/** The service has said nothing for too long. */
export function silence(doing: string, milliseconds: number): HotblobError {
  return new HotblobError(UNAVAILABLE, `${doing} failed: nothing has come for ${milliseconds} ms`);
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
