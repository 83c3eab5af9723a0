import { answerError } from './answer.js';
import type { Artifact, ByteRange, FileArtifact } from './artifact.js';
import { HotblobError } from './errors.js';
import type { Exchange } from './exchange.js';
import { httpDate } from './http/http-date.js';
import { plan, type Representation } from './http/plan.js';
import type { OpenFile } from './page-cache/open-file.js';
import type { OpenFiles } from './page-cache/open-files.js';
import type { ResponseRecord } from './report.js';
import { BytesSource } from './send/bytes-source.js';
import { type FilePolicy, FileSource } from './send/file-source.js';
import type { Leases } from './send/leases.js';
import { send } from './send/send.js';
import type { Source, Transfer } from './send/source.js';
import { StreamSource } from './send/stream-source.js';
import { RequestSignal } from './signal.js';

type OpenSource = (transfer: Transfer, range: ByteRange | undefined) => Source | Promise<Source>;

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

  /** Resolves when the response is over; to false, with nothing answered, for a file that is not there. */
  async answer(exchange: Exchange, artifact: Artifact, record: ResponseRecord): Promise<boolean> {
    // HTTP/1.1 pipelining starts hundreds of responses at once: none holds anything before its turn.
    const turn = exchange.turn();
    if (turn !== undefined) await turn;
    if (exchange.closed) throw new HotblobError('ERR_HOTBLOB_CLIENT_GONE', 'the client left before its turn');
    switch (artifact.kind) {
      case 'file':
        return this.#answerFile(exchange, artifact, record);
      case 'bytes':
        await this.#respond(exchange, record, ofMemory(artifact, artifact.bytes.byteLength), 0, (transfer) => {
          return new BytesSource(transfer, artifact.bytes);
        });
        return true;
      case 'stream':
        await this.#respond(exchange, record, ofMemory(artifact, artifact.size), 0, async (transfer, range) => {
          const { size } = artifact;
          const isWhole = range === undefined || range.end - range.start === size;
          const stream = await artifact.open(isWhole ? undefined : range, new RequestSignal(exchange));
          return new StreamSource(transfer, stream, range === undefined ? undefined : range.end - range.start);
        });
        return true;
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

  async #answerFile(exchange: Exchange, artifact: FileArtifact, record: ResponseRecord): Promise<boolean> {
    const acquired = this.#openFiles.acquire(artifact);
    const file = acquired instanceof Promise ? await acquired : acquired;
    if (file === undefined) return false;
    try {
      const representation = ofFile(artifact, file);
      const { size } = representation;
      const offset = artifact.offset ?? 0;
      const region = { file, end: offset + size, size, immutable: artifact.immutable === true };
      await this.#respond(exchange, record, representation, offset, (transfer) => {
        return new FileSource(transfer, region, this.#policy);
      });
      return true;
    } finally {
      file.leave();
    }
  }

  async #respond(
    exchange: Exchange,
    record: ResponseRecord,
    representation: Representation,
    offset: number,
    openSource: OpenSource,
  ): Promise<void> {
    const decided = plan(exchange.method === 'HEAD' ? 'HEAD' : 'GET', exchange.headers, representation);
    record.status = decided.status;
    if (decided.kind === 'error') {
      answerError(exchange, decided.status, decided.headers);
      return;
    }
    if (decided.kind === 'done') {
      exchange.respond(decided.status, decided.headers);
      exchange.end();
      return;
    }
    const leases = this.#leases;
    const transfer = { exchange, connection: leases.connection(exchange), leases, tally: record.tally };
    const { range } = decided;
    const opened = openSource(transfer, range);
    const source = opened instanceof Promise ? await opened : opened;
    const start = offset + (range?.start ?? 0);
    const end = range === undefined ? Number.POSITIVE_INFINITY : offset + range.end;
    record.complete = await send(transfer, source, start, end, () => {
      exchange.respond(decided.status, decided.headers);
    });
  }
}

function ofMemory(artifact: Artifact, size: number | undefined): Representation {
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
  if (!(offset >= 0 && size >= 0 && offset + size <= file.size)) {
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

function regionTag(file: OpenFile, offset: number, size: number): string {
  return `${file.etag.slice(0, -1)}-${offset.toString(36)}-${size.toString(36)}"`;
}
