import type { Readable } from 'node:stream';
import type { Artifact } from '../../contract/artifact.js';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import type { PurgeFilter, PurgeOptions, PurgeResult } from '../../contract/purge.js';
import {
  assertKey,
  type GetOptions,
  type ListOptions,
  type PutOptions,
  type PutResult,
  type Store,
  type StoreEntry,
  type StoreStats,
} from '../../contract/store.js';
import { isPromise } from '../../util/is-promise.js';
import { KeyLocks } from '../../util/key-locks.js';
import { neverAborted } from '../../util/never-aborted.js';
import { messageOf, reportEvent } from '../../util/report-event.js';
import { discard } from '../body.js';
import { holdsKey } from '../holds-key.js';
import type { BreakerState } from './breaker.js';
import { FilePresence } from './file-presence.js';
import { Flight, type FlightOptions } from './flight.js';
import { Misses } from './misses.js';
import { type TieredSettings, type TieredStoreOptions, tieredSettingsOf } from './options.js';
import { purgeBoth } from './purge.js';
import { Remote } from './remote.js';
import { Replication } from './replication.js';
import { ReplicationQueue } from './replication-queue.js';
import { assertWritable, SpoolBudget } from './spool.js';
import { isWritable, writeThrough } from './write-through.js';

export type { TieredStoreOptions } from './options.js';

/**
 * Statistics of a tiered store. They include the statistics of the local store, and `requests` and `latency` of the
 * remote store. Counts start when the tiered store is created.
 */
export interface TieredStats extends StoreStats {
  /** State of the circuit breaker. `closed`: requests are sent to the remote store. */
  readonly remote: BreakerState;
  /** Number of downloads from the remote store in flight. */
  readonly flights: number;
  /** Number of cached misses of the remote store. */
  readonly rememberedMisses: number;
  /** Number of keys in the replication queue. */
  readonly queued: number;
  /** Number of keys that were dropped because the replication queue was full. */
  readonly dropped: number;
  /** Number of uploads that only the local store got, because the remote store failed, refused them or was not asked. */
  readonly unreplicated: number;
}

/** Store that combines a local and a remote store. Created by {@link tieredStore}. */
export interface TieredStore extends Store {
  get(key: string, options?: Partial<GetOptions>): Artifact | undefined | Promise<Artifact | undefined>;
  put(key: string, body: Readable, options?: Partial<PutOptions>): Promise<PutResult>;
  /** Lists the artifacts of the local store. The method is absent if the local store has no `list`. */
  list?(options?: ListOptions): AsyncIterable<StoreEntry>;
  /**
   * Deletes the artifacts that match from the local store, and from the remote store if it has `purge`. The result is the sum for
   * both. The method is absent if the local store has no `purge`.
   */
  purge?(filter: PurgeFilter, options?: PurgeOptions): Promise<PurgeResult>;
  /**
   * Aborts the requests to the remote store that are in flight. Does not close the two stores; their owner must do
   * this.
   */
  close(): Promise<void>;
  stats(): TieredStats;
}

/**
 * Creates a store that combines a local and a remote store.
 *
 * If the local store does not have an artifact, it is downloaded once from the remote store, sent to all clients that
 * wait for it, and put into the local store with its metadata. Later hits have the entity tag and modification time of
 * the local store. An artifact whose metadata is too large for the local store is sent but not stored. A local store
 * that discards metadata is suitable only for artifacts without metadata.
 *
 * A local artifact for which the local store throws `ERR_HOTBLOB_CORRUPT` is replaced by that of the remote store. If the
 * remote store does not have it, it is a miss.
 *
 * A lookup that fails in the remote store is a miss; `DEBUG=hotblob:tiered` logs the reason. After `failureThreshold`
 * consecutive failures, the circuit breaker opens, and no request is sent until the cooldown has passed.
 *
 * Uploads and deletions go to both stores. An upload succeeds if either store has it. With `'writeThrough'`, it waits for
 * the remote store, and a remote store that fails never gets it. With `'writeBack'`, the remote store receives it in the
 * background, from a queue that survives the process. With `'writeThrough'`, a deletion fails if the remote store fails.
 *
 * After `close()`, `put` and `delete` reject with `ERR_HOTBLOB_CLOSED`, and `get` returns only local artifacts.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` or `ERR_HOTBLOB_INVALID_STORE`
 */
export async function tieredStore(options: TieredStoreOptions): Promise<TieredStore> {
  const settings = tieredSettingsOf(options);
  const { queueDir, spoolDir, limits } = settings;
  await assertWritable(spoolDir);
  const queue = queueDir === undefined ? undefined : await ReplicationQueue.open(queueDir, limits.maxQueued);
  return new LocalAndRemoteStore(settings, queue);
}

class LocalAndRemoteStore implements TieredStore {
  delete?: (key: string) => Promise<boolean>;
  list?: (options?: ListOptions) => AsyncIterable<StoreEntry>;
  purge?: (filter: PurgeFilter, options?: PurgeOptions) => Promise<PurgeResult>;
  readonly #local: TieredSettings['local'];
  readonly #remote: Remote;
  readonly #misses: Misses;
  readonly #presence = new FilePresence();
  /** Flights that other clients may join, by key. */
  readonly #flights = new Map<string, Flight>();
  /** All flights that have not ended, including superseded flights. */
  readonly #activeFlights = new Set<Flight>();
  readonly #flightOptions: FlightOptions;
  readonly #queue: ReplicationQueue | undefined;
  readonly #replication: Replication | undefined;
  readonly #locks = new KeyLocks();
  /** Number of uploads and deletions in flight, by key. */
  readonly #writes = new Map<string, number>();
  #finishedFlights = 0;
  #isClosed = false;

  constructor({ local, remote, spoolDir, limits }: TieredSettings, queue: ReplicationQueue | undefined) {
    this.#local = local;
    this.#remote = new Remote(remote, limits);
    this.#misses = new Misses(limits.missTtlMs, limits.maxMisses);
    this.#queue = queue;
    this.#replication = queue && new Replication(queue, local, this.#remote);
    const { lookupTimeoutMs, spoolMemoryBytes, maxSpoolBytes } = limits;
    const memory = new SpoolBudget(spoolMemoryBytes);
    const disk = new SpoolBudget(maxSpoolBytes);
    this.#flightOptions = { local, remote: this.#remote, lookupTimeoutMs, spoolDir, memory, disk };
    if (local.delete !== undefined) this.delete = (key) => this.#delete(key);
    const { list, purge } = local;
    if (list !== undefined) this.list = (options) => list.call(local, options);
    if (purge !== undefined) {
      this.purge = async (filter, options = {}) => {
        this.#assertOpen();
        return purgeBoth(remote, { purge: purge.bind(local) }, filter, options).finally(() => this.#presence.clear());
      };
    }
  }

  // This method is not async, so that a synchronous hit of the local store stays synchronous.
  get(key: string, options: Partial<GetOptions> = {}): Artifact | undefined | Promise<Artifact | undefined> {
    const { signal = neverAborted() } = options;
    return this.#get(key, signal, this.#finishedFlights);
  }

  async put(key: string, body: Readable, options: Partial<PutOptions> = {}): Promise<PutResult> {
    try {
      assertKey(key);
      this.#assertOpen();
      const { signal = neverAborted() } = options;
      return await this.#write(key, () => this.#put(key, body, { ...options, signal }));
    } catch (error) {
      discard(body);
      throw error;
    }
  }

  stats(): TieredStats {
    const { requests, latency } = this.#remote.store.stats?.() ?? {};
    return {
      ...this.#local.stats?.(),
      requests,
      latency,
      remote: this.#remote.state,
      flights: this.#activeFlights.size,
      rememberedMisses: this.#misses.size,
      queued: this.#queue?.size ?? 0,
      dropped: this.#queue?.dropped ?? 0,
      unreplicated: this.#remote.unreplicated,
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#presence.close();
    const flights = [...this.#activeFlights];
    for (const flight of flights) flight.destroy(closedError());
    await Promise.all([...flights.map((flight) => flight.done), this.#replication?.close()]);
  }

  /** @param finishedFlights number of flights that had ended before the local lookup; undefined: do not look up again */
  #get(
    key: string,
    signal: AbortSignal,
    finishedFlights: number | undefined,
  ): Artifact | undefined | Promise<Artifact | undefined> {
    let artifact: ReturnType<Store['get']>;
    try {
      artifact = this.#local.get(key, { signal });
    } catch (error) {
      return this.#fetchIfCorrupt(key, error, signal, finishedFlights);
    }
    if (!isPromise(artifact)) return this.#getOrFetch(key, artifact, signal, finishedFlights);
    return artifact.then(
      (found) => this.#getOrFetch(key, found, signal, finishedFlights),
      (error) => this.#fetchIfCorrupt(key, error, signal, finishedFlights),
    );
  }

  /** Replaces a corrupt local artifact by that of the remote store. Throws any other error of the local store. */
  #fetchIfCorrupt(
    key: string,
    error: unknown,
    signal: AbortSignal,
    finishedFlights: number | undefined,
  ): Promise<Artifact | undefined> {
    if (errnoCode(error) !== 'ERR_HOTBLOB_CORRUPT') throw error;
    reportEvent('artifact corrupt', `${key}: ${messageOf(error)}`, error);
    return this.#fetch(key, signal, finishedFlights);
  }

  #getOrFetch(
    key: string,
    artifact: Artifact | undefined,
    signal: AbortSignal,
    finishedFlights: number | undefined,
  ): Artifact | Promise<Artifact | undefined> {
    if (artifact === undefined) return this.#fetch(key, signal, finishedFlights);
    if (artifact.kind !== 'file') return artifact;
    const exists = this.#presence.exists(artifact);
    if (exists === true) return artifact;
    return exists.then((isFile) => (isFile ? artifact : this.#fetch(key, signal, finishedFlights)));
  }

  async #fetch(key: string, signal: AbortSignal, finishedFlights: number | undefined): Promise<Artifact | undefined> {
    if (!holdsKey(this.#remote.store, key)) return undefined;
    if (this.#misses.has(key) || this.#replication?.isPending(key) === true || this.#isClosed) return undefined;
    const joinable = this.#flights.get(key);
    if (joinable !== undefined) return joinable.join(signal);
    // A flight that ended during the local lookup may have stored the artifact, so the local store is searched once
    // more.
    if (finishedFlights !== undefined && finishedFlights !== this.#finishedFlights) {
      return this.#get(key, signal, undefined);
    }
    const attempt = this.#remote.admit();
    if (attempt === undefined) return undefined;
    const flight: Flight = new Flight(key, attempt, !this.#writes.has(key), this.#flightOptions, () => {
      if (this.#flights.get(key) === flight) this.#misses.add(key);
    });
    this.#flights.set(key, flight);
    this.#activeFlights.add(flight);
    void flight.done.then(() => this.#onFlightDone(flight));
    return flight.join(signal);
  }

  #onFlightDone(flight: Flight): void {
    this.#activeFlights.delete(flight);
    if (this.#flights.get(flight.key) === flight) this.#flights.delete(flight.key);
    this.#finishedFlights++;
  }

  async #put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
    const { store } = this.#remote;
    if (!isWritable(store) || !holdsKey(store, key)) return this.#local.put(key, body, options);
    if (this.#replication === undefined) {
      return writeThrough(key, body, options, this.#local, this.#remote, store, (commit) =>
        this.#locks.run(key, commit),
      );
    }
    const result = await this.#local.put(key, body, options);
    try {
      await this.#replication.put(key);
    } catch (error) {
      // The queue directory is full or was deleted.
      this.#remote.countUnreplicated();
      reportEvent('replication failed', `${key}: the task cannot be queued: ${messageOf(error)}`, error);
    }
    return result;
  }

  async #delete(key: string): Promise<boolean> {
    assertKey(key);
    this.#assertOpen();
    return this.#write(key, () => this.#locks.run(key, () => this.#deleteFromBoth(key)));
  }

  async #deleteFromBoth(key: string): Promise<boolean> {
    const { store } = this.#remote;
    const isLocal = (await this.#local.delete?.(key)) ?? false;
    if (store.delete === undefined || !holdsKey(store, key)) return isLocal;
    if (this.#replication !== undefined) return (await this.#replication.delete(key)) || isLocal;
    const isRemote = await this.#remote.run(async () => store.delete?.(key));
    return isRemote === true || isLocal;
  }

  /**
   * Runs an upload or a deletion. Downloads of the key that are in flight at the same time are sent to clients but not
   * stored.
   */
  async #write<T>(key: string, write: () => Promise<T>): Promise<T> {
    this.#writes.set(key, (this.#writes.get(key) ?? 0) + 1);
    try {
      await this.#supersedeFlight(key);
      return await write();
    } finally {
      const remaining = (this.#writes.get(key) ?? 1) - 1;
      if (remaining === 0) this.#writes.delete(key);
      else this.#writes.set(key, remaining);
      await this.#supersedeFlight(key);
      this.#misses.delete(key);
      this.#presence.clear();
    }
  }

  async #supersedeFlight(key: string): Promise<void> {
    const flight = this.#flights.get(key);
    if (flight === undefined) return;
    this.#flights.delete(key);
    await flight.supersede();
  }

  #assertOpen(): void {
    if (this.#isClosed) throw closedError();
  }
}

function closedError(): HotblobError {
  return new HotblobError('ERR_HOTBLOB_CLOSED', 'the tiered store has been closed');
}
