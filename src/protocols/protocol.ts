import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { UploadMetadata } from '../contract/artifact.js';
import type { PutResult } from '../contract/store.js';

/** Request line and headers, in the form in which a protocol receives them. */
export interface ProtocolRequest {
  /** Method as the client sent it. */
  readonly method: string;
  /**
   * Path below the mount path. It begins with a slash, is percent-encoded as the client sent it, and does not include
   * the query.
   */
  readonly path: string;
  /**
   * Mount path of the handler, without a trailing slash. In the URL, it precedes `path`. A prefix that a framework has
   * removed from the URL is not included. Default: `''`.
   */
  readonly mountPath?: string | undefined;
  /** Parameters of the query. Parsed on first access. */
  readonly query: URLSearchParams;
  /** Request headers, names in lower case, as in `node:http`. */
  readonly headers: IncomingHttpHeaders;
}

/** Cache protocol of a build tool. Maps a request to an operation on an artifact, without access to the store. */
export interface Protocol {
  /** Name in lower-case letters, digits and `-`. Unique among the protocols of a handler. */
  readonly name: string;
  /**
   * Prefix of the protocol's keys in the store, so that artifacts of different tools do not mix. It consists of
   * segments with a trailing slash; `''` means no prefix. Default: the name and a slash.
   */
  readonly keyPrefix?: string | undefined;
  /**
   * Returns the operation for a request. Returns `undefined` if the request does not belong to this protocol; the
   * handler then tries the next one.
   *
   * @throws HotblobError if the request belongs to this protocol but is invalid. The response has the status of the
   *   error
   */
  route(request: ProtocolRequest): Operation | undefined;
  /** Returns the body of an error response in the format of the tool. Default: `{"message"}` as JSON. */
  describeError?(status: number, message: string): ReplyBody;
  /**
   * Statuses that are sent if the server has failed, so that the build goes on: the store has thrown, is read-only or full,
   * a limit was reached, or an upload took too long. Errors of the client, such as wrong credentials, keep their status.
   * Reports and statistics have both statuses. Default: the status of the failure.
   */
  readonly failureStatus?: FailureStatus | undefined;
  /**
   * Status of an upload whose key already has an artifact that the client may not replace. Default: the response is the same as if
   * the artifact had been stored, so that the build goes on.
   */
  readonly existsStatus?: number | undefined;
}

/** Statuses that a {@link Protocol} sends instead of the status of a failure. */
export interface FailureStatus {
  /** For GET and HEAD: the status that the tool takes for a miss. Default: the status of the failure. */
  readonly read?: number | undefined;
  /**
   * For all other methods: the status that the tool takes for an upload that the server did not need. If it is below 300,
   * the response has no body. Default: the status of the failure.
   */
  readonly write?: number | undefined;
}

/** Operation that a protocol returns for a request. Keys do not include the protocol's prefix; the handler adds it. */
export type Operation = ReadOperation | UploadOperation | DeleteOperation | AnswerOperation | UnsupportedOperation;

/** Kind of an {@link Operation}. */
export type OperationKind = Operation['kind'];

interface WithNamespace {
  /** Owner of the artifacts (a team or tenant). Passed to the access policy. Default: none. */
  readonly namespace?: string | undefined;
}

/** Sends the artifact under `key`, or only its headers if the method is HEAD. Requires read access. */
export interface ReadOperation extends WithNamespace {
  /** Discriminates {@link Operation}. */
  readonly kind: 'read';
  /** Key of the artifact to send. */
  readonly key: string;
  /**
   * Returns whether the artifact may be sent. If not, the request is a miss. Called once, before the artifact is looked up.
   * Default: every artifact may be sent.
   */
  readonly check?: ((artifacts: ProtocolArtifacts) => boolean | Promise<boolean>) | undefined;
}

/** Stores the request body under `key`. Requires write access. */
export interface UploadOperation extends WithNamespace {
  /** Discriminates {@link Operation}. */
  readonly kind: 'upload';
  /** Key to store the body under. */
  readonly key: string;
  /**
   * Metadata that downloads of the artifact repeat. The handler adds the `Content-Encoding` of the request, unless
   * `contentEncoding` is set. Default: none.
   */
  readonly metadata?: UploadMetadata | undefined;
  /**
   * Expected digest of the body. If the body differs, nothing is stored, and the response has the status `mismatch`.
   * Default: none.
   */
  readonly digest?: UploadDigest | undefined;
  /**
   * Whether the key determines the content, as a digest does. If the key already has an artifact, it is kept. Default: false.
   */
  readonly contentAddressed?: boolean | undefined;
  /** Status of the response if the body does not match `digest`. Default: 400. */
  readonly mismatch?: 400 | 422 | undefined;
  /** Maximum size of the body in bytes, below the handler's `maxUploadBytes`. Default: `maxUploadBytes`. */
  readonly maxBytes?: number | undefined;
  /** Returns the response to a successful upload. Default: 200 without a body. */
  readonly reply?: ((result: PutResult) => Reply) | undefined;
}

/** Expected digest of the body of an {@link UploadOperation}. */
export interface UploadDigest {
  /** Hash function. */
  readonly algorithm: 'sha1' | 'sha256' | 'sha384' | 'sha512';
  /** Digest in lower-case hex. */
  readonly hex: string;
}

/** Deletes the artifact under `key`. Requires write access. */
export interface DeleteOperation extends WithNamespace {
  /** Discriminates {@link Operation}. */
  readonly kind: 'delete';
  /** Key to delete. */
  readonly key: string;
}

/** Calls `answer`, which returns the response itself or another operation. */
export interface AnswerOperation extends WithNamespace {
  /** Discriminates {@link Operation}. */
  readonly kind: 'answer';
  /** Key in the path, for response reports. Default: none. */
  readonly key?: string | undefined;
  /** Required access level. `write` is answered with 405 if the store is read-only. */
  readonly needs: 'none' | 'read' | 'write';
  /** Returns the response, or another operation that the handler performs without a second access check. */
  answer(artifacts: ProtocolArtifacts): Reply | Operation | Promise<Reply | Operation>;
}

/** Answers with 405, because the path belongs to the protocol and the method is not supported there. */
export interface UnsupportedOperation {
  /** Discriminates {@link Operation}. */
  readonly kind: 'unsupported';
  /** Key in the path, for response reports. Default: none. */
  readonly key?: string | undefined;
  /** Methods that the path supports, for the `Allow` header. */
  readonly allow: readonly string[];
}

/** Response without an artifact. The handler adds `Content-Length`. */
export interface Reply {
  /** HTTP status code. */
  readonly status: number;
  /** Response headers, names in lower case. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Response body. Not sent if the method is HEAD. Default: none. */
  readonly body?: ReplyBody | undefined;
}

/** Body of a {@link Reply}. */
export interface ReplyBody {
  /** Value of `Content-Type`, with its charset. */
  readonly contentType: string;
  /** Text of the body, as a string or encoded in UTF-8. */
  readonly text: string | Uint8Array;
}

/** Description of an artifact, without its bytes. */
export interface ArtifactDescription {
  /** Size in bytes; `undefined` for a stream of unknown length. */
  readonly size: number | undefined;
  /** Entity tag as it appears in the header, quotes included. */
  readonly etag: string | undefined;
  /** Value of `Last-Modified`: the time of the upload, unless the store returns another one. */
  readonly lastModified: Date | undefined;
  /** Metadata of the upload, as far as the store keeps it. */
  readonly metadata: UploadMetadata;
}

/** Access to the artifacts of a protocol in one scope. Keys do not include the protocol's prefix. */
export interface ScopeArtifacts {
  /** Name of the scope. */
  readonly scope: string;
  /** Resolves to the description of the artifact under `key`, or to `undefined` for a miss. */
  describe(key: string): Promise<ArtifactDescription | undefined>;
  /** Resolves to at most the first `maxBytes` bytes of the artifact under `key`, or to `undefined` for a miss. */
  read(key: string, maxBytes: number): Promise<Buffer | undefined>;
}

/** Result of an upload by a protocol. */
export interface ProtocolPutResult extends PutResult {
  /** Whether the key had an artifact that the client may not replace. It was kept, and the body was discarded. */
  readonly wasKept: boolean;
}

/**
 * Access to the artifacts of a protocol and to the request body, for an {@link AnswerOperation} and the check of a
 * {@link ReadOperation}. Keys do not include the protocol's prefix.
 */
export interface ProtocolArtifacts {
  /** Resolves to the description of the artifact under `key`, or to `undefined` for a miss. */
  describe(key: string): Promise<ArtifactDescription | undefined>;
  /** Resolves to at most the first `maxBytes` bytes of the artifact under `key`, or to `undefined` for a miss. */
  read(key: string, maxBytes: number): Promise<Buffer | undefined>;
  /**
   * Stores `body` under `key`, like `Store.put`.
   *
   * @throws HotblobError `ERR_HOTBLOB_READ_ONLY` if the store is read-only
   */
  put(key: string, body: Readable, metadata?: UploadMetadata): Promise<ProtocolPutResult>;
  /**
   * Deletes the artifact under `key`. Resolves to whether there was one.
   *
   * @throws HotblobError `ERR_HOTBLOB_READ_ONLY` if the store has no `delete`
   */
  delete(key: string): Promise<boolean>;
  /**
   * Returns the request body. Call it at most once. The stream fails if the body exceeds `maxBytes` or ends before its
   * `Content-Length`, or if the client disconnects.
   *
   * @throws HotblobError `ERR_HOTBLOB_TOO_LARGE` if `Content-Length` exceeds `maxBytes`
   * @throws HotblobError `ERR_HOTBLOB_CONTENT_CODING` if the body has a `Content-Encoding`
   */
  body(maxBytes: number): Readable;
  /**
   * Reads the request body, as from `body`, into memory. At most 16 bodies above 16 KiB are in memory at once, each until its
   * response has been sent. Other requests wait.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` after a wait of five seconds, and the errors of `body`
   */
  readBody(maxBytes: number): Promise<Buffer>;
  /**
   * Passes the request body, as from `body`, to `write`, which stores it in a file. Waits for its first bytes and for one of
   * the descriptors for uploads, like `put`. Destroys the body at the end.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if no descriptor becomes free, and the errors of `body` and `write`
   */
  receive<T>(maxBytes: number, write: (body: Readable) => Promise<T>): Promise<T>;
  /**
   * Text that is the same for all requests that read and change the same artifacts. Requests of clients with other scopes have
   * another one. Only a protocol that keeps something outside the store needs it, such as a cache of what it has read.
   */
  readonly view: string;
  /**
   * Artifacts of each scope that the client reads, in the order in which `describe` and `read` look for an artifact. Only a
   * protocol whose keys depend on the scope needs it.
   */
  readonly scopes: readonly ScopeArtifacts[];
  /** Artifacts of the scope that the client changes. */
  readonly own: ScopeArtifacts;
  /** Whether an upload replaces an artifact. */
  readonly overwrite: boolean;
  /** Signal that is aborted when the client disconnects. */
  readonly signal: AbortSignal;
}

/** Returns a reply with `value` as JSON. */
export function jsonReply(status: number, value: unknown): Reply {
  return { status, body: { contentType: 'application/json; charset=utf-8', text: JSON.stringify(value) } };
}

/** {@link Protocol.failureStatus} of a tool for which a failed download must be a miss, and a failed upload may be an error. */
export const FAILED_READ_IS_MISS: FailureStatus = { read: 404 };

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * Whether a request can change something: its method is not safe (RFC 9110, section 9.2.1), or its operation requires
 * write access.
 *
 * @param operation undefined if the request is not valid
 */
export function changesState(method: string, operation: Operation | undefined): boolean {
  return !SAFE_METHODS.has(method) || (operation !== undefined && requiredAccess(operation) === 'write');
}

/** Returns the access level that an operation requires. */
export function requiredAccess(operation: Operation): 'none' | 'read' | 'write' {
  switch (operation.kind) {
    case 'read':
      return 'read';
    case 'upload':
    case 'delete':
      return 'write';
    case 'answer':
      return operation.needs;
    case 'unsupported':
      return 'none';
  }
}
