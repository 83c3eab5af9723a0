import { errnoCode, HotblobError, isErrorCode } from '../../contract/errors.js';
import { messageOf } from '../../util/report-event.js';

/** Error of an operation, as one process sends it to another. */
export interface RemoteError {
  readonly code?: string | undefined;
  readonly message: string;
}

export function encodeError(error: unknown): RemoteError {
  return { code: errnoCode(error), message: messageOf(error) };
}

/** Returns an error with the code and message that the writer sent. Its status is the same as in the writer. */
export function decodeError({ code, message }: RemoteError): Error {
  if (code !== undefined && isErrorCode(code)) return new HotblobError(code, message);
  return Object.assign(new Error(message), code === undefined ? {} : { code });
}

/** Returns the error for an operation whose writer ended, or did not respond, before the result arrived. */
export function writerGoneError(cause?: unknown): HotblobError {
  const message = 'the process that writes to the store ended, or did not respond in time';
  return new HotblobError('ERR_HOTBLOB_WRITER_GONE', message, cause === undefined ? undefined : { cause });
}

/** Returns the error for a `list` that ended because this process became the writer and opened its store again. */
export function interruptedListError(cause: unknown): HotblobError {
  const message = 'list: interrupted, because this process became the writer; list again';
  return new HotblobError('ERR_HOTBLOB_WRITER_GONE', message, { cause });
}
