import type { Artifact } from '../contract/artifact.js';
import { HotblobError } from '../contract/errors.js';
import { type Exchange, headersSentError } from '../contract/exchange.js';
import { SendError } from '../contract/send-error.js';
import { type Bindings, loadBindings } from '../page-cache/bindings.js';
import { OpenFiles } from '../page-cache/open-files.js';
import { Leases } from '../send/leases.js';
import { Download } from './download.js';
import type { SenderSettings } from './options.js';
import { type Reporter, ResponseRecord, report } from './response-record.js';
import { type HandlerStats, memoryStats, Stats } from './stats.js';

/** Sends artifacts, whoever has found them: what handlers are built on, and what hosts use in routes of their own. */
export class Sender {
  readonly openFiles: OpenFiles;
  readonly download: Download;
  readonly #memory: SenderSettings['memory'];
  readonly #bindings: Bindings;
  readonly #leases: Leases;
  readonly #stats = new Stats();
  readonly #reporter: Reporter;
  readonly #maxOpenFiles: number;

  /** @param owner what reports name; default: the sender itself */
  constructor(settings: SenderSettings, owner?: object) {
    this.#reporter = { sender: owner ?? this, totals: this.#stats, timing: settings.timing };
    this.#maxOpenFiles = settings.maxOpenFiles;
    this.#memory = settings.memory;
    this.#bindings = loadBindings(settings.bindings);
    this.#leases = new Leases(settings.poolBytes, settings.memory, settings.processes);
    this.openFiles = new OpenFiles(this.#bindings, settings.maxOpenFiles);
    this.download = new Download(this.openFiles, this.#leases, settings.policy);
  }

  /**
   * Answers with an artifact: a HEAD as such, every other method as a GET. Resolves to true when the response is over, also
   * where it was cut off after the headers, and to false for an artifact that is not there: then nothing has been answered.
   *
   * @throws SendError before the headers: then nothing has been answered by this either
   */
  async send(exchange: Exchange, artifact: Artifact): Promise<boolean> {
    if (exchange.closed) throw new SendError(clientGone());
    if (exchange.headersSent) throw new SendError(headersSentError());
    const record = this.begin(exchange, 'send');
    try {
      if ((await this.download.answer(exchange, artifact, record)) === 'missing') {
        this.leave();
        return false;
      }
      // A closed exchange takes an answer without a body in silence.
      if (!exchange.headersSent) throw clientGone();
    } catch (error) {
      const reason = new SendError(error);
      if (!exchange.headersSent || reason.code === 'ERR_HOTBLOB_HEADERS_SENT') {
        this.leave();
        throw reason;
      }
      record.error = error;
      record.complete = false;
      // Ended cleanly, the client would take half an artifact for the whole.
      exchange.destroy(reason);
    }
    this.finish(record);
    return true;
  }

  /** The record of a response that begins. */
  begin(exchange: Exchange, operation: 'send' | 'none'): ResponseRecord {
    this.#stats.active++;
    return new ResponseRecord(exchange, operation, this.#reporter);
  }

  /** A response that has begun is left to somebody else. */
  leave(): void {
    this.#stats.active--;
  }

  /** Counts a lookup. */
  lookedUp(isHit: boolean): void {
    if (isHit) this.#stats.hits++;
    else this.#stats.misses++;
  }

  /** Counts a response that is over, and tells those who listen. */
  finish(record: ResponseRecord): void {
    this.#stats.active--;
    this.#stats.answered(record);
    report(record);
  }

  /** What has been done since the start, and what is in use now. */
  stats(): HandlerStats {
    return {
      ...this.#stats.snapshot(),
      mapper: this.#bindings.mapper?.name,
      copiesResident: this.#bindings.libc !== undefined,
      openFiles: this.openFiles.size,
      maxOpenFiles: this.#maxOpenFiles,
      mappings: this.#bindings.mappings,
      ...this.#leases.stats(),
      pressure: this.#memory.level,
      memory: memoryStats(this.#memory),
    };
  }

  /** Closes descriptors, those in use with their last response. */
  close(): void {
    this.openFiles.close();
  }
}

function clientGone(): HotblobError {
  return new HotblobError(
    'ERR_HOTBLOB_CLIENT_GONE',
    'the client left, or the host ended the response, before the answer',
  );
}
