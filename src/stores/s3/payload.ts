/** Request body and its hash. */
export interface Payload {
  readonly bytes: Buffer;
  /** SHA-256 in lower-case hex. S3 verifies it. */
  readonly sha256: string;
}

/**
 * Returns middleware that passes the SHA-256 of the body to the SDK. It was computed while the body arrived. Without
 * the middleware, the SDK hashes all bytes at once, which blocks the event loop for about 15 ms per 16 MiB.
 */
export function setPayloadHash({ sha256 }: Payload) {
  return <A extends { request: unknown }, R>(next: (args: A) => R) =>
    (args: A): R => {
      if (hasHeaders(args.request)) args.request.headers['x-amz-content-sha256'] = sha256;
      return next(args);
    };
}

/** Position of the middleware: the SDK signs the request after its build step. */
export const BEFORE_SIGNING = { step: 'build', name: 'hotblobPayloadHash' } as const;

function hasHeaders(request: unknown): request is { headers: Record<string, string> } {
  return typeof request === 'object' && request !== null && 'headers' in request;
}
