import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { UploadMetadata } from '../contract/artifact.js';
import type { PutResult } from '../contract/store.js';

/** The head of a request, as a protocol sees it. */
export interface ProtocolRequest {
  /** As the client sent it. */
  readonly method: string;
  /** From the slash behind the mount path on, percent-encoded as the client sent it, without the query. */
  readonly path: string;
  /**
   * What precedes `path` in the URL, as far as the handler knows: of what a framework has mounted it below, nothing.
   * Without a slash at its end. Default: `''`.
   */
  readonly mountPath?: string | undefined;
  /** The parameters of the query; they are parsed when somebody asks. */
  readonly query: URLSearchParams;
  /** Lower-case names, as in node:http. */
  readonly headers: IncomingHttpHeaders;
}

/**
 * How a build tool speaks to its cache: it turns a request into an operation on an artifact. It is pure, and knows nothing
 * of stores.
 */
export interface Protocol {
  /** Lower-case letters, digits and `-`. */
  readonly name: string;
  /**
   * What precedes its keys in the store, so that artifacts of different tools never meet: `''`, for the one that gives
   * whole keys, or segments with a slash at the end. Default: the name and a slash.
   */
  readonly keyPrefix?: string | undefined;
  /**
   * What a request asks for; undefined for one that is not this protocol's, and the next protocol is asked.
   *
   * @throws HotblobError for a request that is this protocol's and is not valid: its status is answered
   */
  route(request: ProtocolRequest): Operation | undefined;
  /** The body of an error, in the tool's own form. Default: `{"message"}` as JSON. */
  describeError?(status: number, message: string): ReplyBody;
  /**
   * The status of an error, where the tool does the right thing only with another one; `describeError` gets that one too.
   * Default: as it is.
   */
  errorStatus?(status: number, method: string): number;
}

/** What a request asks for. Keys are as in `Store`, without the protocol's prefix. */
export type Operation = ReadOperation | UploadOperation | DeleteOperation | AnswerOperation | UnsupportedOperation;

/** What a request can ask for. */
export type OperationKind = Operation['kind'];

interface WithNamespace {
  /** Whose artifacts it is about (a team, a tenant), as access policies see it. */
  readonly namespace?: string | undefined;
}

/** The artifact under a key (GET), or its headers (HEAD). */
export interface ReadOperation extends WithNamespace {
  /** To be sent. */
  readonly kind: 'read';
  /** Of what is wanted. */
  readonly key: string;
}

/** The request's body is to be kept under a key. */
export interface UploadOperation extends WithNamespace {
  /** To be kept. */
  readonly kind: 'upload';
  /** Where it is to be found again. */
  readonly key: string;
  /** What comes back with the artifact. Default: nothing. */
  readonly metadata?: UploadMetadata | undefined;
  /** What the body must hash to, in lower-case hex; else 400, and nothing is kept. */
  readonly sha256?: string | undefined;
  /** What answers a body that hashes to something else than `sha256`. Default: 400. */
  readonly mismatch?: 400 | 422 | undefined;
  /** The largest body, in bytes, where the handler allows more. */
  readonly maxBytes?: number | undefined;
  /** What a success is answered with. Default: 200, without a body. */
  readonly reply?: ((result: PutResult) => Reply) | undefined;
}

/** What is under a key is to go. */
export interface DeleteOperation extends WithNamespace {
  /** To be removed. */
  readonly kind: 'delete';
  /** Of what is to go. */
  readonly key: string;
}

/** An answer that the protocol makes itself. */
export interface AnswerOperation extends WithNamespace {
  /** To be answered by the protocol. */
  readonly kind: 'answer';
  /** What one must be allowed to do for it. To `write` is not possible where the store takes nothing: 405. */
  readonly needs: 'none' | 'read' | 'write';
  /** May come to another operation, which is then done for the same request, with the permission already given. */
  answer(artifacts: ProtocolArtifacts): Reply | Operation | Promise<Reply | Operation>;
}

/** A path of the protocol's with a method that it does not have there: 405. */
export interface UnsupportedOperation {
  /** To be refused. */
  readonly kind: 'unsupported';
  /** What stands there, for reports. */
  readonly key?: string | undefined;
  /** Those that it has there. */
  readonly allow: readonly string[];
}

/** An answer that is not an artifact. `Content-Length` is added. */
export interface Reply {
  /** Of HTTP. */
  readonly status: number;
  /** Names in lower case. Default: none of its own. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Default: none. A HEAD goes without. */
  readonly body?: ReplyBody | undefined;
}

/** The body of a reply. */
export interface ReplyBody {
  /** The `Content-Type`, with its charset. */
  readonly contentType: string;
  /** Sent as UTF-8. */
  readonly text: string;
}

/** An artifact without its bytes. */
export interface ArtifactDescription {
  /** Bytes; undefined where nobody knows before the end. */
  readonly size: number | undefined;
  /** As it stands in the header, quotes included. */
  readonly etag: string | undefined;
  /** When it was put, or what its store says instead. */
  readonly lastModified: Date | undefined;
  /** What came with its upload, as far as the store keeps it. */
  readonly metadata: UploadMetadata;
}

/** The artifacts of a protocol, for answers that it makes itself, and the body of the request. */
export interface ProtocolArtifacts {
  /** What is under a key, without its bytes; undefined for a miss. */
  describe(key: string): Promise<ArtifactDescription | undefined>;
  /** What is under a key, or its first `maxBytes` bytes; undefined for a miss. For what is small. */
  read(key: string, maxBytes: number): Promise<Buffer | undefined>;
  /** As `Store.put`. @throws HotblobError `ERR_HOTBLOB_READ_ONLY` where the store takes nothing */
  put(key: string, body: Readable, metadata?: UploadMetadata): Promise<PutResult>;
  /** As `Store.delete`. @throws HotblobError `ERR_HOTBLOB_READ_ONLY` where the store deletes nothing */
  delete(key: string): Promise<boolean>;
  /**
   * The request's body, which fails above `maxBytes`, where it ends too early and when the client leaves. At most once.
   *
   * @throws HotblobError `ERR_HOTBLOB_TOO_LARGE` where the request announces more
   */
  body(maxBytes: number): Readable;
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
}

/** A reply with a value as JSON. */
export function jsonReply(status: number, value: unknown): Reply {
  return { status, body: { contentType: 'application/json; charset=utf-8', text: JSON.stringify(value) } };
}

/** What one must be allowed to do for an operation. */
export function needsOf(operation: Operation): 'none' | 'read' | 'write' {
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
