/** Stable codes, each with the HTTP status that a client sees when a request ends with it. */
const STATUS_OF_CODE = {
  /** An option is missing, unknown, or of the wrong type. Thrown at construction. */
  ERR_HOTBLOB_INVALID_OPTION: 500,
  /** A store lacks a method that the contract asks for. Thrown at construction. */
  ERR_HOTBLOB_INVALID_STORE: 500,
  /** A store handed back something that is not an artifact. */
  ERR_HOTBLOB_INVALID_ARTIFACT: 500,
  ERR_HOTBLOB_INVALID_KEY: 400,
  ERR_HOTBLOB_KEY_TOO_LONG: 414,
  /** An upload is larger than the limit. */
  ERR_HOTBLOB_TOO_LARGE: 413,
  /** An upload ended before the length that it announced. */
  ERR_HOTBLOB_INCOMPLETE: 400,
  /** An upload does not hash to what it, or its key, says. */
  ERR_HOTBLOB_DIGEST: 400,
  /** A request that its protocol does not allow. */
  ERR_HOTBLOB_BAD_REQUEST: 400,
  /** A request that is well-formed, and that its protocol cannot do all the same. */
  ERR_HOTBLOB_UNPROCESSABLE: 422,
  /** The store takes no uploads, or deletes nothing. */
  ERR_HOTBLOB_READ_ONLY: 405,
  /** What an upload says about itself is longer than what a store keeps of that. */
  ERR_HOTBLOB_METADATA_TOO_LARGE: 431,
  /** The backend has no room left. */
  ERR_HOTBLOB_STORAGE_FULL: 507,
  /** Descriptors or buffers are all in use; trying again later helps. */
  ERR_HOTBLOB_OVERLOADED: 503,
  /** The store has been closed. */
  ERR_HOTBLOB_CLOSED: 503,
  /** A file or stream ended before the length that was promised. */
  ERR_HOTBLOB_TRUNCATED: 500,
  /** A file was rewritten in place while it was being sent. */
  ERR_HOTBLOB_REWRITTEN: 500,
  /** A file of a store does not hold what was written to it; the message names the file. */
  ERR_HOTBLOB_CORRUPT: 500,
  /** Another process writes to the directory. */
  ERR_HOTBLOB_LOCKED: 500,
  /** The optional dependency `lmdb` is absent, or does not load here. */
  ERR_HOTBLOB_NO_LMDB: 500,
  /** Another cache cannot be reached, has cut its answer off, or has answered with what is no answer. */
  ERR_HOTBLOB_UPSTREAM: 502,
  /** Another cache takes the credentials for wrong, or for too little. */
  ERR_HOTBLOB_UPSTREAM_DENIED: 502,
  /** Another cache has not answered in time, or has stopped in the middle. */
  ERR_HOTBLOB_UPSTREAM_TIMEOUT: 504,
  /** The host has answered by itself, or has begun to. */
  ERR_HOTBLOB_HEADERS_SENT: 500,
  /** The client went away, or the host has ended the response. Nobody is left to see a status. */
  ERR_HOTBLOB_CLIENT_GONE: 499,
} as const;

/** What an error of this package is about; stable from version to version. */
export type ErrorCode = keyof typeof STATUS_OF_CODE;

/** Every error of this package. Messages are for programmers and logs; clients get a sentence about the status. */
export class HotblobError extends Error {
  /** The name of the class. */
  override readonly name = 'HotblobError';
  /** What to compare with: messages may change. */
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  /** The HTTP status for a request that ends with this error. */
  get status(): number {
    return STATUS_OF_CODE[this.code];
  }

  /** The same, under the name that some hosts know. */
  get statusCode(): number {
    return this.status;
  }
}

const STATUS_OF_ERRNO: Readonly<Record<string, number>> = {
  ENOSPC: 507,
  EDQUOT: 507,
  EMFILE: 503,
  ENFILE: 503,
  ENOMEM: 503,
};

/** The HTTP status for whatever a store or the system threw; 500 where it says nothing better. */
export function statusOf(error: unknown): number {
  if (error instanceof HotblobError) return error.status;
  const code = errnoCode(error);
  return (code !== undefined && STATUS_OF_ERRNO[code]) || 500;
}

/**
 * The `code` of whatever was thrown: `ENOENT`, `EMFILE` and so on for an error of the system. Not by instanceof: Jest runs
 * tests in a realm with an Error of its own.
 */
export function errnoCode(error: unknown): string | undefined {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

const CLIENT_MESSAGES: Readonly<Record<number, string>> = {
  400: 'The request is not valid.',
  401: 'A token is required that is good for this.',
  403: 'This is not allowed with this token, or without one.',
  404: 'Not found.',
  405: 'This method is not allowed here.',
  412: 'A precondition of the request does not hold.',
  413: 'The upload is too large.',
  414: 'The key is too long.',
  416: 'The range cannot be satisfied.',
  422: 'The request cannot be done as it is.',
  431: 'The request has too many headers.',
  500: 'The server failed to answer.',
  502: 'Another server failed to answer this one.',
  503: 'The server is busy. Try again later.',
  504: 'Another server did not answer this one in time.',
  507: 'The server has no room left.',
};

/** What a client is told about a status: never a stack, a path or a key. */
export function clientMessage(status: number): string {
  return CLIENT_MESSAGES[status] ?? `Status ${status}.`;
}
