import { clientMessage } from '../contract/errors.js';
import { SendError } from '../contract/send-error.js';

/** SendError that can create its response. The default error handler of Hono calls `getResponse`. */
export class ResponseError extends SendError {
  /** Returns a response with the status and headers of the error, and a generic message as JSON. */
  getResponse(): Response {
    return Response.json({ message: clientMessage(this.status) }, { status: this.status, headers: this.headers });
  }
}

/** Throws `error`. Converts a SendError to a {@link ResponseError} first. */
export function rethrow(error: unknown): never {
  throw error instanceof SendError ? new ResponseError(error.cause) : error;
}
