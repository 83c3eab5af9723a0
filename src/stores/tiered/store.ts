import type { Readable } from 'node:stream';
import type { Artifact } from '../../contract/artifact.js';
import { HotblobError } from '../../contract/errors.js';
import {
  assertKey,
  type GetOptions,
  type PutOptions,
  type PutResult,
  type Store,
  type StoreEntry,
  type StoreStats,
} from '../../contract/store.js';
import { isPromise } from '../../util/is-promise.js';
import { KeyLocks } from '../../util/key-locks.js';
import { discard } from '../body.js';
import type { BreakerState } from './breaker.js';
import { Flight, type FlightOptions } from './flight.js';
import { Misses } from './misses.js';
import { type TieredSettings, type TieredStoreOptions, tieredSettingsOf } from './options.js';
import { Presence } from './presence.js';
import { TaskQueue } from './queue.js';
import { Remote } from './remote.js';
import { Replication } from './replication.js';
import { SpoolMemory } from './spool.js';
import { isWritable, writeThrough } from './write-through.js';

export type { TieredStoreOptions } from './options.js';

/** What a tiered store is doing; what its local store knows about itself, and what its remote store was asked, as far as they tell. */
export interface TieredStats extends StoreStats {
  readonly remote: BreakerState;
  readonly flights: number;
  readonly rememberedMisses: number;
  readonly queued: number;
  readonly dropped: number;
}

/** A near store in front of a far one. */
export interface TieredStore extends Store {
  put(key: string, body: Readable, options: PutOptions): Promise<PutResult>;
  /** What the local store lists; absent where it has no `list`. */
  list?(): AsyncIterable<StoreEntry>;
  /** Ends what is under way. The two stores stay open: whoever has made them closes them. */
  close(): Promise<void>;
  /** What it has done since it was made, and how the remote store is. */
  stats(): TieredStats;
}

/**
 * A local store in front of a remote one: what is asked for comes from the remote store once, is passed on while it comes,
 * and stays in the local one, with what is said about it: from then on it is served with the local store's own entity tag
 * and time, and all else as the remote store has it. What is said in too many bytes for the local store is passed on but not
 * kept. A local store that keeps no metadata is for artifacts without.
 *
 * A remote store that fails makes misses: `DEBUG=hotblob:tiered` says why. After some failures in a row it is left alone
 * for a time. Uploads and deletions go to both; with `'writeBack'` the remote store gets them in the background, from a
 * queue that survives the process. A deletion or an upload that goes through fails with the remote store.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` or `ERR_HOTBLOB_INVALID_STORE`
 */
export async function tieredStore(options: TieredStoreOptions): Promise<TieredStore> {
  const settings = tieredSettingsOf(options);
  const { queueDir, limits } = settings;
  const queue = queueDir === undefined ? undefined : await TaskQueue.open(queueDir, limits.maxQueued);
  return new TwoTiers(settings, queue);
}

class TwoTiers implements TieredStore {
  delete?: (key: string) => Promise<boolean>;
  list?: () => AsyncIterable<StoreEntry>;
  readonly #local: TieredSettings['local'];
  readonly #remote: Remote;
  readonly #misses: Misses;
  readonly #presence = new Presence();
  /** Those that may be joined. */
  readonly #flights = new Map<string, Flight>();
  /** Those that have not ended. */
  readonly #open = new Set<Flight>();
  readonly #flightOptions: FlightOptions;
  readonly #queue: TaskQueue | undefined;
  readonly #replication: Replication | undefined;
  readonly #locks = new KeyLocks();
  /** How many writes of each key are under way. */
  readonly #writing = new Map<string, number>();
  /** Flights that have ended so far. */
  #landed = 0;
  #isClosed = false;

  constructor({ local, remote, spoolDir, limits }: TieredSettings, queue: TaskQueue | undefined) {
    this.#local = local;
    this.#remote = new Remote(remote, limits);
    this.#misses = new Misses(limits.missTtlMs, limits.maxMisses);
    this.#queue = queue;
    this.#replication = queue && new Replication(queue, local, this.#remote);
    const { lookupTimeoutMs, spoolMemoryBytes } = limits;
    const memory = new SpoolMemory(spoolMemoryBytes);
    this.#flightOptions = { local, remote: this.#remote, lookupTimeoutMs, spoolDir, memory };
    if (local.delete !== undefined) this.delete = (key) => this.#delete(key);
    const { list } = local;
    if (list !== undefined) this.list = () => list.call(local);
  }

  // Not async: what is there is answered at once.
  get(key: string, options: GetOptions): Artifact | undefined | Promise<Artifact | undefined> {
    return this.#get(key, options, this.#landed);
  }

  async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
    try {
      assertKey(key);
      this.#assertOpen();
      return await this.#write(key, () => this.#put(key, body, options));
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
      flights: this.#open.size,
      rememberedMisses: this.#misses.size,
      queued: this.#queue?.size ?? 0,
      dropped: this.#queue?.dropped ?? 0,
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const flights = [...this.#open];
    for (const flight of flights)
      flight.destroy(new HotblobError('ERR_HOTBLOB_OVERLOADED', 'the store has been closed'));
    await Promise.all([...flights.map((flight) => flight.over), this.#replication?.close()]);
  }

  /** `landed`: how many flights had ended before; undefined where that makes no difference. */
  #get(key: string, options: GetOptions, landed?: number): Artifact | undefined | Promise<Artifact | undefined> {
    const artifact = this.#local.get(key, options);
    if (isPromise(artifact)) return artifact.then((found) => this.#answer(key, found, options, landed));
    return this.#answer(key, artifact, options, landed);
  }

  #answer(
    key: string,
    artifact: Artifact | undefined,
    options: GetOptions,
    landed: number | undefined,
  ): Artifact | Promise<Artifact | undefined> {
    if (artifact === undefined) return this.#fetch(key, options, landed);
    if (artifact.kind !== 'file') return artifact;
    const isThere = this.#presence.isThere(artifact);
    if (isThere === true) return artifact;
    return isThere.then((found) => (found ? artifact : this.#fetch(key, options, landed)));
  }

  async #fetch(key: string, options: GetOptions, landed: number | undefined): Promise<Artifact | undefined> {
    if (this.#misses.has(key) || this.#replication?.isPending(key) === true || this.#isClosed) return undefined;
    const flight = this.#flights.get(key);
    if (flight !== undefined) return flight.join(options.signal);
    // One may have landed while the local store was being asked: it has the artifact by now.
    if (landed !== undefined && landed !== this.#landed) return this.#get(key, options);
    const attempt = this.#remote.enter();
    if (attempt === undefined) return undefined;
    const begun: Flight = new Flight(key, attempt, !this.#writing.has(key), this.#flightOptions, () => {
      if (this.#flights.get(key) === begun) this.#misses.add(key);
    });
    this.#flights.set(key, begun);
    this.#open.add(begun);
    void begun.over.then(() => this.#land(begun));
    return begun.join(options.signal);
  }

  #land(flight: Flight): void {
    this.#open.delete(flight);
    if (this.#flights.get(flight.key) === flight) this.#flights.delete(flight.key);
    this.#landed++;
  }

  async #put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
    const { store } = this.#remote;
    if (!isWritable(store)) return this.#local.put(key, body, options);
    if (this.#replication === undefined) {
      return writeThrough(key, body, options, this.#local, this.#remote, store, (commit) =>
        this.#locks.run(key, commit),
      );
    }
    const result = await this.#local.put(key, body, options);
    try {
      await this.#replication.put(key);
    } catch (error) {
      // An upload that fails leaves nothing: here alone it would never get to the others.
      await this.#local.delete?.(key);
      throw error;
    }
    return result;
  }

  async #delete(key: string): Promise<boolean> {
    assertKey(key);
    this.#assertOpen();
    return this.#write(key, () => this.#locks.run(key, () => this.#deleteBoth(key)));
  }

  async #deleteBoth(key: string): Promise<boolean> {
    const { store } = this.#remote;
    const isLocal = (await this.#local.delete?.(key)) ?? false;
    if (store.delete === undefined) return isLocal;
    if (this.#replication !== undefined) return (await this.#replication.delete(key)) || isLocal;
    const isRemote = await this.#remote.run(async () => store.delete?.(key));
    return isRemote === true || isLocal;
  }

  /** Runs a change of a key. What comes in for it meanwhile is older: it may be read, but not kept. */
  async #write<T>(key: string, change: () => Promise<T>): Promise<T> {
    this.#writing.set(key, (this.#writing.get(key) ?? 0) + 1);
    try {
      await this.#supersede(key);
      return await change();
    } finally {
      const left = (this.#writing.get(key) ?? 1) - 1;
      if (left === 0) this.#writing.delete(key);
      else this.#writing.set(key, left);
      await this.#supersede(key);
      this.#misses.delete(key);
      this.#presence.clear();
    }
  }

  async #supersede(key: string): Promise<void> {
    const flight = this.#flights.get(key);
    if (flight === undefined) return;
    this.#flights.delete(key);
    await flight.supersede();
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new HotblobError('ERR_HOTBLOB_OVERLOADED', 'the store has been closed');
  }
}
