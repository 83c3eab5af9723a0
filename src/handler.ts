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

/**
 * Makes a handler.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`, `ERR_HOTBLOB_INVALID_STORE`
 */
export function createHandler(options: HandlerOptions): Handler {
  return new CacheHandler(settingsOf(options));
}

type Operation = (exchange: Exchange, record: ResponseRecord) => Promise<boolean>;

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
    this.#leases = new Leases(settings.poolBytes, settings.memory);
    this.#download = new Download(this.#openFiles, this.#leases, settings.policy);
    this.#allow = `GET, HEAD${store.put ? ', PUT' : ''}${store.delete ? ', DELETE' : ''}`;
  }

  handle(exchange: Exchange): Promise<boolean> {
    return this.#recorded(exchange, this.#route);
  }

  send(exchange: Exchange, artifact: Artifact): Promise<boolean> {
    return this.#recorded(exchange, (_, record) => this.#download.answer(exchange, artifact, record));
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

  async #recorded(exchange: Exchange, operation: Operation): Promise<boolean> {
    const record = new ResponseRecord(exchange.method, this.#stats.tally());
    try {
      if (!(await operation(exchange, record))) return false;
    } catch (error) {
      record.error = error;
      this.#fail(exchange, error, record);
    }
    this.#stats.answered(record.status);
    report(record);
    return true;
  }

  #fail(exchange: Exchange, error: unknown, record: ResponseRecord): void {
    record.complete = false;
    const cause =
      error instanceof Error ? error : new Error('a store threw something that is not an error', { cause: error });
    if (exchange.closed || exchange.headersSent) {
      // Ended cleanly, the client would take half an artifact for the whole.
      exchange.destroy(cause);
      return;
    }
    record.status = statusOf(cause);
    exchange.refuseBody();
    try {
      answerError(exchange, record.status);
    } catch {
      exchange.destroy(cause); // the host has put something into the response that cannot be sent
    }
  }

  readonly #route: Operation = (exchange, record) => {
    const { store, mountPath, fallthrough } = this.#settings;
    let key: string | undefined;
    try {
      key = keyOf(exchange.url, mountPath);
    } catch (error) {
      // What cannot be a key here may be a path of those who come next.
      if (!fallthrough) throw error;
    }
    if (key === undefined) return NOT_OURS;
    record.key = key;
    if (exchange.method === 'GET' || exchange.method === 'HEAD') return this.#get(exchange, key, record);
    if (exchange.method === 'PUT' && store.put !== undefined) return this.#put(exchange, key, record);
    if (exchange.method === 'DELETE' && store.delete !== undefined) return this.#delete(exchange, key, record);
    if (fallthrough) return NOT_OURS;
    this.#answerError(exchange, record, 405, { allow: this.#allow });
    return OURS;
  };

  async #get(exchange: Exchange, key: string, record: ResponseRecord): Promise<boolean> {
    const found = this.#settings.store.get(key, new RequestSignal(exchange));
    const artifact = isPromise(found) ? await found : found;
    if (artifact !== undefined && (await this.#download.answer(exchange, artifact, record))) return true;
    if (this.#settings.fallthrough) return false;
    this.#answerError(exchange, record, 404);
    return true;
  }

  async #put(exchange: Exchange, key: string, record: ResponseRecord): Promise<boolean> {
    const { store, maxUploadBytes } = this.#settings;
    const size = announcedSize(exchange, maxUploadBytes);
    if (await this.#isRefused(exchange, key, record)) return true;
    const body = uploadBody(exchange, size, maxUploadBytes);
    try {
      const { signal } = new RequestSignal(exchange);
      const result = await store.put?.(key, body, { signal, size });
      await this.#forget(key, signal);
      record.status = 200;
      exchange.respond(200, { 'content-length': 0, ...(result?.etag === undefined ? {} : { etag: result.etag }) });
      exchange.end();
    } finally {
      body.destroy();
    }
    return true;
  }

  async #delete(exchange: Exchange, key: string, record: ResponseRecord): Promise<boolean> {
    const { store } = this.#settings;
    if (await this.#isRefused(exchange, key, record)) return true;
    const { signal } = new RequestSignal(exchange);
    const artifact = await store.get(key, { signal });
    const deleted = await store.delete?.(key);
    if (artifact?.kind === 'file') this.#openFiles.expire(artifact.path);
    if (deleted) {
      record.status = 204;
      exchange.respond(204, {});
      exchange.end();
    } else {
      this.#answerError(exchange, record, 404);
    }
    return true;
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

  /** After a write, what is open for a key may no longer be what the store has. */
  async #forget(key: string, signal: AbortSignal): Promise<void> {
    const artifact = await this.#settings.store.get(key, { signal });
    if (artifact?.kind === 'file') this.#openFiles.expire(artifact.path);
  }

  #answerError(exchange: Exchange, record: ResponseRecord, status: number, headers?: ResponseHeaders): void {
    record.status = status;
    answerError(exchange, status, headers);
  }
}

const OURS = Promise.resolve(true);
const NOT_OURS = Promise.resolve(false);
const WRITE_PRECONDITIONS = ['if-match', 'if-none-match', 'if-unmodified-since'] as const;

function isPromise<T extends object>(value: T | undefined | Promise<T | undefined>): value is Promise<T | undefined> {
  return value !== undefined && 'then' in value;
}
