import { answerError } from './answer.js';
import type { Artifact } from './artifact.js';
import { Download } from './download.js';
import { statusOf } from './errors.js';
import type { Exchange, ResponseHeaders } from './exchange.js';
import { evaluatePreconditions } from './http/preconditions.js';
import { type HandlerOptions, type Settings, settingsOf } from './options.js';
import { type Bindings, loadBindings } from './page-cache/bindings.js';
import { OpenFiles } from './page-cache/open-files.js';
import { ResponseRecord, report } from './report.js';
import { keyOf } from './route.js';
import { Leases } from './send/leases.js';
import { RequestSignal } from './signal.js';
import { type HandlerStats, Stats } from './stats.js';
import { announcedSize, uploadBody } from './upload.js';

/** Answers the requests of a build cache from one store. Made by {@link createHandler}. */
export interface Handler {
  /**
   * Does the whole job for a request: finds the artifact, decides, sends. Resolves when the response is over, to false
   * for a request that is not the handler's; then nothing has been answered. Never rejects.
   */
  handle(exchange: Exchange): Promise<boolean>;
  /**
   * Answers a GET or HEAD with an artifact that the host has found and authorised. Resolves when the response is over, to
   * false for an artifact that is not there (a file that has vanished); then nothing has been answered. Never rejects.
   */
  send(exchange: Exchange, artifact: Artifact): Promise<boolean>;
  /** What has been done since the start, and what is in use now. */
  stats(): HandlerStats;
  /** Closes descriptors, those in use with their last response. The store stays its owner's. */
  close(): void;
}

/** What answers requests in our own terms: a handler, or an object that passes on to one. */
export type ExchangeHandler = Pick<Handler, 'handle'>;

/**
 * Makes a handler.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`, `ERR_HOTBLOB_INVALID_STORE`
 */
export function createHandler(options: HandlerOptions): Handler {
  return new CacheHandler(settingsOf(options));
}

/** Foreign: not the handler's. Missing: the handler's, but there is nothing under its key. Nothing is answered by either. */
type Outcome = 'answered' | 'missing' | 'foreign';

class CacheHandler implements Handler {
  readonly #settings: Settings;
  readonly #bindings: Bindings;
  readonly #openFiles: OpenFiles;
  readonly #leases: Leases;
  readonly #download: Download;
  readonly #stats = new Stats();
  readonly #allow: string;

  constructor(settings: Settings) {
    const { store } = settings;
    this.#settings = settings;
    this.#bindings = loadBindings(settings.bindings);
    this.#openFiles = new OpenFiles(this.#bindings, settings.maxOpenFiles);
    this.#leases = new Leases(settings.poolBytes, settings.memory, settings.processes);
    this.#download = new Download(this.#openFiles, this.#leases, settings.policy);
    this.#allow = `GET, HEAD${store.put ? ', PUT' : ''}${store.delete ? ', DELETE' : ''}`;
  }

  async handle(exchange: Exchange): Promise<boolean> {
    const record = new ResponseRecord(exchange.method, this.#stats);
    try {
      const outcome = await this.#route(exchange, record);
      if (outcome !== 'answered') {
        if (outcome === 'foreign' || this.#settings.fallthrough) return false;
        this.#answerError(exchange, record, 404);
      }
    } catch (error) {
      this.#fail(exchange, error, record);
    }
    this.#finish(record);
    return true;
  }

  async send(exchange: Exchange, artifact: Artifact): Promise<boolean> {
    const record = new ResponseRecord(exchange.method, this.#stats);
    try {
      if ((await this.#download.answer(exchange, artifact, record)) === 'missing') return false;
    } catch (error) {
      this.#fail(exchange, error, record);
    }
    this.#finish(record);
    return true;
  }

  stats(): HandlerStats {
    return {
      ...this.#stats.snapshot(),
      mapper: this.#bindings.mapper?.name,
      copiesResident: this.#bindings.libc !== undefined,
      openFiles: this.#openFiles.size,
      mappings: this.#bindings.mappings,
      mappedBytes: this.#leases.mappedBytes,
      pooledBytes: this.#leases.pooledBytes,
      pressure: this.#settings.memory.level,
    };
  }

  close(): void {
    this.#openFiles.close();
  }

  // The hot path below is not async: each promise on it costs as much as a step of its work.
  #route(exchange: Exchange, record: ResponseRecord): Promise<Outcome> {
    const { store, mountPath, fallthrough } = this.#settings;
    let key: string | undefined;
    try {
      key = keyOf(exchange.url, mountPath);
    } catch (error) {
      // What cannot be a key here may be a path of those who come next.
      if (!fallthrough) throw error;
    }
    if (key === undefined) return FOREIGN;
    record.key = key;
    if (exchange.method === 'GET' || exchange.method === 'HEAD') return this.#get(exchange, key, record);
    if (exchange.method === 'PUT' && store.put !== undefined) return this.#put(exchange, key, record);
    if (exchange.method === 'DELETE' && store.delete !== undefined) return this.#delete(exchange, key, record);
    if (fallthrough) return FOREIGN;
    this.#answerError(exchange, record, 405, { allow: this.#allow });
    return ANSWERED;
  }

  #get(exchange: Exchange, key: string, record: ResponseRecord): Promise<Outcome> {
    const found = this.#settings.store.get(key, new RequestSignal(exchange));
    if (isPromise(found)) return found.then((artifact) => this.#answer(exchange, artifact, record));
    return this.#answer(exchange, found, record);
  }

  #answer(exchange: Exchange, artifact: Artifact | undefined, record: ResponseRecord): Promise<Outcome> {
    return artifact === undefined ? MISSING : this.#download.answer(exchange, artifact, record);
  }

  async #put(exchange: Exchange, key: string, record: ResponseRecord): Promise<Outcome> {
    const { store, maxUploadBytes } = this.#settings;
    const size = announcedSize(exchange, maxUploadBytes);
    if (await this.#isRefused(exchange, key, record)) return 'answered';
    const { signal } = new RequestSignal(exchange);
    const body = uploadBody(exchange, size, maxUploadBytes);
    try {
      const result = await store.put?.(key, body, { signal, size });
      await this.#lookAgain(key, signal);
      record.status = 200;
      exchange.respond(200, { 'content-length': 0, ...(result?.etag === undefined ? {} : { etag: result.etag }) });
      exchange.end();
    } finally {
      body.destroy();
    }
    return 'answered';
  }

  async #delete(exchange: Exchange, key: string, record: ResponseRecord): Promise<Outcome> {
    const { store } = this.#settings;
    if (await this.#isRefused(exchange, key, record)) return 'answered';
    const { signal } = new RequestSignal(exchange);
    const artifact = await store.get(key, { signal });
    const isDeleted = await store.delete?.(key);
    if (artifact?.kind === 'file') this.#openFiles.expire(artifact.path);
    if (!isDeleted) return 'missing';
    record.status = 204;
    exchange.respond(204, {});
    exchange.end();
    return 'answered';
  }

  /** Answers 412 where the preconditions of a request that writes do not hold (RFC 9110, 13.2.1). */
  async #isRefused(exchange: Exchange, key: string, record: ResponseRecord): Promise<boolean> {
    const { headers } = exchange;
    if (!WRITE_PRECONDITIONS.some((name) => headers[name] !== undefined)) return false;
    const artifact = await this.#settings.store.get(key, new RequestSignal(exchange));
    const current = artifact && (await this.#download.describe(artifact));
    if (evaluatePreconditions('PUT', headers, current) === 'proceed') return false;
    exchange.refuseBody();
    this.#answerError(exchange, record, 412);
    return true;
  }

  /** After an upload, what is open for its key is no longer what the store has. */
  async #lookAgain(key: string, signal: AbortSignal): Promise<void> {
    const artifact = await this.#settings.store.get(key, { signal });
    if (artifact?.kind === 'file') this.#openFiles.expire(artifact.path);
  }

  #answerError(exchange: Exchange, record: ResponseRecord, status: number, headers?: ResponseHeaders): void {
    record.status = status;
    answerError(exchange, status, headers);
  }

  #fail(exchange: Exchange, error: unknown, record: ResponseRecord): void {
    record.error = error;
    record.complete = false;
    const cause =
      error instanceof Error ? error : new Error('a store threw something that is not an error', { cause: error });
    if (exchange.closed || exchange.headersSent) {
      // Ended cleanly, the client would take half an artifact for the whole.
      exchange.destroy(cause);
      return;
    }
    exchange.refuseBody();
    try {
      this.#answerError(exchange, record, statusOf(cause));
    } catch {
      exchange.destroy(cause); // the host has put something into the response that cannot be sent
    }
  }

  #finish(record: ResponseRecord): void {
    this.#stats.answered(record.status);
    report(record);
  }
}

const ANSWERED = Promise.resolve<Outcome>('answered');
const MISSING = Promise.resolve<Outcome>('missing');
const FOREIGN = Promise.resolve<Outcome>('foreign');
const WRITE_PRECONDITIONS = ['if-match', 'if-none-match', 'if-unmodified-since'] as const;

function isPromise<T extends object>(value: T | undefined | Promise<T | undefined>): value is Promise<T | undefined> {
  return value !== undefined && 'then' in value;
}
