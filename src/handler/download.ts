import type { Artifact, BytesArtifact, FileArtifact, StreamArtifact } from '../contract/artifact.js';
import { HotblobError } from '../contract/errors.js';
import type { Exchange } from '../contract/exchange.js';
import { httpDate } from '../http/http-date.js';
import { type PlannedBody, plan, type Representation } from '../http/plan.js';
import type { OpenFile } from '../page-cache/open-file.js';
import type { OpenFiles } from '../page-cache/open-files.js';
import { BytesSource } from '../send/bytes-source.js';
import { type FilePolicy, FileSource } from '../send/file-source.js';
import type { Leases } from '../send/leases.js';
import { send } from '../send/send.js';
import type { Source, Transfer } from '../send/source.js';
import { StreamSource } from '../send/stream-source.js';
import { answerError } from './reply.js';
import { RequestSignal } from './request-signal.js';
import type { ResponseRecord } from './response-record.js';

export type DownloadOutcome = 'answered' | 'missing';

/** Answers a GET or HEAD with an artifact: opens, plans, sends. */
export class Download {
  readonly #openFiles: OpenFiles;
  readonly #leases: Leases;
  readonly #policy: FilePolicy;

  constructor(openFiles: OpenFiles, leases: Leases, policy: FilePolicy) {
    this.#openFiles = openFiles;
    this.#leases = leases;
    this.#policy = policy;
  }

  /** Resolves when the response is over, or to `'missing'`, with nothing answered, for a file that is not there. */
  answer(exchange: Exchange, artifact: Artifact, record: ResponseRecord): Promise<DownloadOutcome> {
    // HTTP/1.1 pipelining starts hundreds of responses at once: none holds anything before its turn.
    const turn = exchange.turn();
    if (turn !== undefined) return turn.then(() => this.#answerNow(exchange, artifact, record, performance.now()));
    // A clock that has just been looked at need not be asked again.
    return this.#answerNow(exchange, artifact, record, record.foundAt || record.startedAt);
  }

  // Not async where the hot path goes: each promise on it costs as much as a step of its work.
  #answerNow(exchange: Exchange, artifact: Artifact, record: ResponseRecord, now: number): Promise<DownloadOutcome> {
    if (exchange.closed) throw new HotblobError('ERR_HOTBLOB_CLIENT_GONE', 'the client left before its turn');
    switch (artifact.kind) {
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
        throw new HotblobError('ERR_HOTBLOB_INVALID_ARTIFACT', 'a store handed back something that is not an artifact');
    }
  }

  /** What an artifact looks like to a client now; undefined for a file that is not there. */
  async describe(artifact: Artifact): Promise<Representation | undefined> {
    if (artifact.kind === 'bytes') return ofMemory(artifact, artifact.bytes.byteLength);
    if (artifact.kind === 'stream') return ofMemory(artifact, artifact.size);
    const file = await this.#openFiles.acquire(artifact);
    if (file === undefined) return undefined;
    try {
      return ofFile(artifact, file);
    } finally {
      file.leave();
    }
  }

  /** Owns the use of `file`. */
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
      const representation = ofFile(artifact, file);
      const planned = this.#plan(exchange, representation, record);
      if (planned === undefined) return ANSWERED;
      const offset = artifact.offset ?? 0;
      const { size } = representation;
      const end = offset + (planned.range?.end ?? size);
      const region = { file, end, size, immutable: artifact.immutable === true };
      const transfer = this.#transfer(exchange, record);
      source = new FileSource(transfer, region, this.#policy);
      return send(transfer, source, planned, offset);
    } finally {
      if (source === undefined) file.leave();
    }
  }

  #answerBytes(exchange: Exchange, artifact: BytesArtifact, record: ResponseRecord): Promise<DownloadOutcome> {
    // Of another view the positions would not be bytes.
    if (!(artifact.bytes instanceof Uint8Array)) {
      throw new HotblobError('ERR_HOTBLOB_INVALID_ARTIFACT', 'the bytes of an artifact must be a Uint8Array');
    }
    const planned = this.#plan(exchange, ofMemory(artifact, artifact.bytes.byteLength), record);
    if (planned === undefined) return ANSWERED;
    const transfer = this.#transfer(exchange, record);
    return send(transfer, new BytesSource(transfer, artifact.bytes), planned, 0);
  }

  async #answerStream(exchange: Exchange, artifact: StreamArtifact, record: ResponseRecord): Promise<DownloadOutcome> {
    const planned = this.#plan(exchange, ofMemory(artifact, artifact.size), record);
    if (planned === undefined) return 'answered';
    const { range, status } = planned;
    const stream = await artifact.open(status === 206 ? range : undefined, new RequestSignal(exchange));
    const transfer = this.#transfer(exchange, record);
    return send(transfer, new StreamSource(transfer, stream, range && range.end - range.start), planned, 0);
  }

  /** What is to be sent; undefined where the answer has no body of the artifact's, and has been given. */
  #plan(exchange: Exchange, representation: Representation, record: ResponseRecord): PlannedBody | undefined {
    const planned = plan(exchange.method === 'HEAD' ? 'HEAD' : 'GET', exchange.headers, representation);
    record.status = planned.status;
    if (planned.kind === 'send') return planned;
    if (planned.kind === 'error') {
      record.status = answerError(exchange, planned.status, planned.headers, record.protocol);
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

const ANSWERED = Promise.resolve<DownloadOutcome>('answered');
const MISSING = Promise.resolve<DownloadOutcome>('missing');

function ofMemory(artifact: Artifact, size: number | undefined): Representation {
  if (size !== undefined && !isCount(size)) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_ARTIFACT', `an artifact cannot have ${size} bytes`);
  }
  const { etag, lastModified } = artifact;
  return {
    size,
    etag,
    lastModified: lastModified && httpDate(lastModified.getTime()),
    metadata: artifact,
  };
}

function ofFile(artifact: FileArtifact, file: OpenFile): Representation & { readonly size: number } {
  const offset = artifact.offset ?? 0;
  const size = artifact.length ?? file.size - offset;
  if (!(isCount(offset) && isCount(size) && offset + size <= file.size)) {
    throw new HotblobError(
      'ERR_HOTBLOB_TRUNCATED',
      `the artifact has ${size} bytes at ${offset}, but its file has ${file.size}: ${file.path}`,
    );
  }
  const isWhole = artifact.offset === undefined && artifact.length === undefined;
  return {
    size,
    etag: artifact.etag ?? (isWhole ? file.etag : regionTag(file, offset, size)),
    lastModified: artifact.lastModified === undefined ? file.lastModified : httpDate(artifact.lastModified.getTime()),
    metadata: artifact,
  };
}

/** Whether it can be a number of bytes: stores in JavaScript hand back what they like, and it would frame the body. */
function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function regionTag(file: OpenFile, offset: number, size: number): string {
  return `${file.etag.slice(0, -1)}-${offset.toString(36)}-${size.toString(36)}"`;
}
