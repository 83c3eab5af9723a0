import { inspect } from 'node:util';
import type { Artifact, BytesArtifact, FileArtifact, StreamArtifact } from '../contract/artifact.js';
import { HotblobError } from '../contract/errors.js';
import { clientGoneError, type Exchange, headersSentError } from '../contract/exchange.js';
import { makePrivate } from '../http/headers.js';
import { httpDate } from '../http/http-date.js';
import { type PlannedBody, plan, type Representation } from '../http/plan.js';
import type { OpenFile } from '../page-cache/open-file.js';
import type { OpenFiles } from '../page-cache/open-files.js';
import { type Body, MAX_KEPT_BYTES } from '../send/body-cache.js';
import { type FilePolicy, FileSource } from '../send/file-source.js';
import type { Leases } from '../send/leases.js';
import { send, sendBytes } from '../send/send.js';
import type { Source, Transfer } from '../send/source.js';
import { StreamSource } from '../send/stream-source.js';
import type { SenderSettings } from './options.js';
import { replyError } from './record-reply.js';
import { RequestSignal } from './request-signal.js';
import type { ResponseRecord } from './response-record.js';

/**
 * Outcome of a download. `answered`: a response has been sent. `missing`: the file does not exist, and nothing has been
 * sent.
 */
export type DownloadOutcome = 'answered' | 'missing';

/** Responds to GET and HEAD with an artifact: opens its file, plans the response and sends it. */
export class Download {
  readonly #openFiles: OpenFiles;
  readonly #leases: Leases;
  readonly #policy: FilePolicy;
  readonly #trustArtifacts: boolean | undefined;
  readonly #cacheControl: string | undefined;

  constructor(
    openFiles: OpenFiles,
    leases: Leases,
    settings: Pick<SenderSettings, 'policy' | 'trustArtifacts' | 'cacheControl'>,
  ) {
    this.#openFiles = openFiles;
    this.#leases = leases;
    this.#policy = settings.policy;
    this.#trustArtifacts = settings.trustArtifacts;
    this.#cacheControl = settings.cacheControl;
  }

  /** Sends an artifact. Resolves when the response has ended. */
  answer(exchange: Exchange, artifact: Artifact, record: ResponseRecord): Promise<DownloadOutcome> {
    // With HTTP/1.1 pipelining, hundreds of requests can start at once. A response therefore uses no file and no buffer
    // before its turn.
    const turn = exchange.turn();
    if (turn !== undefined) return turn.then(() => this.#answerNow(exchange, artifact, record, performance.now()));
    // Reuses the time of the lookup or of the request, because a read of the clock is expensive on the hot path.
    return this.#answerNow(exchange, artifact, record, record.foundAt || record.startedAt);
  }

  // The methods of the hot path are not async: a promise costs as much as the rest of such a method.
  #answerNow(exchange: Exchange, artifact: Artifact, record: ResponseRecord, now: number): Promise<DownloadOutcome> {
    if (exchange.closed) {
      if (exchange.headersSent) throw headersSentError();
      throw clientGoneError();
    }
    switch (artifact?.kind) {
      case 'file': {
        const file = this.#openFiles.acquire(artifact, now);
        if (file instanceof Promise) return file.then((opened) => this.#answerFile(exchange, artifact, opened, record));
        return this.#answerFile(exchange, artifact, file, record);
      }
      case 'bytes':
        return this.#answerBytes(exchange, artifact, record);
      case 'stream':
        return this.#answerStream(exchange, artifact, record);
      default:
        throw invalidArtifactError(artifact);
    }
  }

  /** Returns the current representation of an artifact, or undefined if its file does not exist. */
  async describe(artifact: Artifact): Promise<Representation | undefined> {
    if (artifact.kind === 'bytes') return sizedRepresentation(artifact, artifact.bytes.byteLength);
    if (artifact.kind === 'stream') return sizedRepresentation(artifact, artifact.size);
    const file = await this.#openFiles.acquire(artifact);
    if (file === undefined) return undefined;
    try {
      return fileRepresentation(artifact, file);
    } finally {
      file.release();
    }
  }

  /** Responds with a file. Takes over the caller's reference to `file`, and releases it. */
  #answerFile(
    exchange: Exchange,
    artifact: FileArtifact,
    file: OpenFile | undefined,
    record: ResponseRecord,
  ): Promise<DownloadOutcome> {
    if (file === undefined) {
      record.vanished = artifact;
      return MISSING;
    }
    let source: Source | undefined;
    try {
      const representation = fileRepresentation(artifact, file);
      const planned = this.#plan(exchange, representation, record);
      if (planned === undefined) return ANSWERED;
      const offset = artifact.offset ?? 0;
      const { size } = representation;
      const transfer = this.#transfer(exchange, record);
      const body = this.#bodyInMemory(artifact, file, offset, size);
      if (body !== undefined) return sendBytes(transfer, body.memory, planned, body);
      const end = offset + (planned.range?.end ?? size);
      const region = { file, end, size, immutable: artifact.immutable === true, isPart: artifact.length !== undefined };
      source = new FileSource(transfer, region, this.#policy);
      return send(transfer, source, planned, offset);
    } finally {
      if (source === undefined) file.release();
    }
  }

  #bodyInMemory(artifact: FileArtifact, file: OpenFile, offset: number, length: number): Body | undefined {
    if (length > MAX_KEPT_BYTES || artifact.immutable !== true || this.#policy.only !== undefined) return undefined;
    const version = artifact.length === undefined ? file.etags.immutable : undefined;
    return this.#leases.acquireBody({ file, offset, length, version });
  }

  #answerBytes(exchange: Exchange, artifact: BytesArtifact, record: ResponseRecord): Promise<DownloadOutcome> {
    // Other typed arrays are rejected, because their positions are not byte positions.
    if (!(artifact.bytes instanceof Uint8Array)) {
      throw new HotblobError('ERR_HOTBLOB_INVALID_ARTIFACT', 'artifact.bytes: expected a Uint8Array');
    }
    const planned = this.#plan(exchange, sizedRepresentation(artifact, artifact.bytes.byteLength), record);
    if (planned === undefined) return ANSWERED;
    const transfer = this.#transfer(exchange, record);
    return sendBytes(transfer, artifact.bytes, planned);
  }

  async #answerStream(exchange: Exchange, artifact: StreamArtifact, record: ResponseRecord): Promise<DownloadOutcome> {
    const planned = this.#plan(exchange, sizedRepresentation(artifact, artifact.size), record);
    if (planned === undefined) return 'answered';
    const { range, status } = planned;
    const stream = await artifact.open(status === 206 ? range : undefined, new RequestSignal(exchange));
    const transfer = this.#transfer(exchange, record);
    return send(transfer, new StreamSource(transfer, stream, range && range.end - range.start), planned, 0);
  }

  /** Plans the response. If the response has no body from the artifact, sends it and returns undefined. */
  #plan(exchange: Exchange, representation: Representation, record: ResponseRecord): PlannedBody | undefined {
    const method = exchange.method === 'HEAD' ? 'HEAD' : 'GET';
    // What a route of the host sends is the host's own. What the store has was uploaded by clients.
    const isTrusted = this.#trustArtifacts ?? record.operation === 'send';
    const planned = plan(method, exchange.headers, representation, isTrusted, this.#cacheControl);
    record.status = planned.status;
    if (record.isScoped) makePrivate(planned.headers);
    if (planned.kind === 'send') return planned;
    if (planned.kind === 'error') {
      replyError(record, planned.status, planned.headers);
    } else {
      exchange.respond(planned.status, planned.headers);
      exchange.end();
    }
    return undefined;
  }

  #transfer(exchange: Exchange, record: ResponseRecord): Transfer {
    const leases = this.#leases;
    return { exchange, connection: leases.connection(exchange), leases, record };
  }
}

/** Returns the error for a value of unknown kind. */
export function invalidArtifactError(received: unknown): HotblobError {
  const value = inspect(received, { depth: 0, breakLength: Number.POSITIVE_INFINITY });
  const message = `artifact: expected the result of fileArtifact(), or an object whose kind is 'file', 'bytes' or 'stream' (for a miss of a store: undefined); received ${value}`;
  return new HotblobError('ERR_HOTBLOB_INVALID_ARTIFACT', message);
}

const ANSWERED = Promise.resolve<DownloadOutcome>('answered');
const MISSING = Promise.resolve<DownloadOutcome>('missing');

function sizedRepresentation(artifact: Artifact, size: number | undefined): Representation {
  if (size !== undefined && !isByteCount(size)) {
    throw new HotblobError(
      'ERR_HOTBLOB_INVALID_ARTIFACT',
      `artifact.size: expected a number of bytes, received ${size}`,
    );
  }
  const { etag, lastModified } = artifact;
  return {
    size,
    etag,
    lastModified: lastModified && httpDate(lastModified.getTime()),
    metadata: artifact,
  };
}

function fileRepresentation(artifact: FileArtifact, file: OpenFile): Representation & { readonly size: number } {
  const offset = artifact.offset ?? 0;
  const size = artifact.length ?? file.size - offset;
  if (!(isByteCount(offset) && isByteCount(size) && offset + size <= file.size)) {
    throw new HotblobError(
      'ERR_HOTBLOB_TRUNCATED',
      `${file.path}: expected ${size} bytes at offset ${offset}, but the file has ${file.size} bytes`,
    );
  }
  const tag = artifact.immutable === true ? file.etags.immutable : file.etags.mutable;
  const isWhole = artifact.offset === undefined && artifact.length === undefined;
  return {
    size,
    etag: artifact.etag ?? (isWhole ? tag : `${tag.slice(0, -1)}-${offset.toString(36)}-${size.toString(36)}"`),
    lastModified: artifact.lastModified === undefined ? file.lastModified : httpDate(artifact.lastModified.getTime()),
    metadata: artifact,
  };
}

/**
 * Returns whether `value` is a number of bytes. The number frames the response body, and a store may return any value.
 */
function isByteCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
