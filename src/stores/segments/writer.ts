import type { Readable } from 'node:stream';
import type { PutOptions, PutResult, StoreStats } from '../../contract/store.js';
import { Committer } from './committer.js';
import { Compaction } from './compaction.js';
import type { Entry } from './entry.js';
import { closed, fullOr } from './errors.js';
import { type Layout, markUnsynced, unmarkUnsynced } from './layout.js';
import { etagOf } from './reader.js';
import { Receiver } from './receive.js';
import { recover } from './recovery.js';
import type { SegmentIndex } from './segment-index.js';
import type { SegmentSet } from './segment-set.js';
import { Space } from './space.js';
import { Usage } from './usage.js';

/** How a store is written to. */
export interface WriterSettings {
  readonly maxBytes: number | undefined;
  readonly segmentBytes: number;
  readonly syncs: boolean;
}

/** The part of a store that changes it. */
export class SegmentWriter {
  readonly #layout: Layout;
  readonly #index: SegmentIndex;
  readonly #settings: WriterSettings;
  readonly #segments: SegmentSet;
  readonly #committer: Committer;
  readonly #compaction: Compaction;
  readonly #space: Space;
  readonly #receiver: Receiver;
  readonly #usage: Usage;
  readonly #running = new Set<Promise<unknown>>();
  #closed = false;

  /** Takes over a directory, as whoever has the lock of it. */
  static async open(layout: Layout, index: SegmentIndex, settings: WriterSettings): Promise<SegmentWriter> {
    const segments = await recover(layout, index, settings.segmentBytes);
    if (!settings.syncs) await markUnsynced(layout);
    return new SegmentWriter(layout, index, settings, segments);
  }

  private constructor(layout: Layout, index: SegmentIndex, settings: WriterSettings, segments: SegmentSet) {
    this.#layout = layout;
    this.#index = index;
    this.#settings = settings;
    this.#segments = segments;
    const { maxBytes = Number.POSITIVE_INFINITY, segmentBytes } = settings;
    // What has been used of as much as the store holds has had its chance.
    this.#usage = new Usage(maxBytes / 2);
    this.#committer = new Committer(index, segments, settings.syncs);
    this.#compaction = new Compaction(index, segments, this.#committer, this.#usage);
    this.#space = new Space(maxBytes, segmentBytes / 2, segments, {
      evict: () => this.#compaction.evictColdest(() => this.#space.free),
      progress: () => this.#committer.progress(),
    });
    this.#receiver = new Receiver(segments, this.#space);
    this.#sweep();
  }

  /** Counts a use, where it matters for what is evicted. */
  touch(key: string, { segment, length }: Entry): void {
    if (this.#settings.maxBytes !== undefined) this.#usage.read(key, segment, length);
  }

  /** As the `put` of a store. */
  put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
    return this.#run(async () => {
      const { signal } = options;
      signal.throwIfAborted();
      return this.#receiver.receive(body, options, this.#space.maxBytes, async (received) => {
        const { digest } = received;
        const { existed } = await this.#committer.run({ kind: 'put', key, time: Date.now(), signal, ...received });
        this.#countWrite(key);
        return { created: !existed, etag: etagOf(digest) };
      });
    });
  }

  /** As the `delete` of a store. */
  delete(key: string): Promise<boolean> {
    return this.#run(async () => (await this.#committer.run({ kind: 'remove', key })).existed);
  }

  /** As the `stats` of a store. */
  stats(): StoreStats {
    const { artifacts, bytes } = this.#segments;
    return { artifacts, bytes, maxBytes: this.#settings.maxBytes, evicted: this.#compaction.evicted };
  }

  /** Waits for what has begun, and refuses the rest. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#running);
    await this.#compaction.close();
    await this.#committer.idle();
    for (const segment of this.#segments.all) {
      if (!this.#settings.syncs && segment.isDirty) await segment.sync();
      await segment.release();
    }
    if (!this.#settings.syncs) {
      await this.#index.sync();
      await unmarkUnsynced(this.#layout);
    }
  }

  async #run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#closed) throw closed();
    const running = task();
    this.#running.add(running);
    try {
      return await running;
    } catch (error) {
      throw fullOr(error);
    } finally {
      this.#running.delete(running);
      this.#sweep();
    }
  }

  #countWrite(key: string): void {
    if (this.#settings.maxBytes === undefined) return;
    const entry = this.#index.get(key);
    if (entry !== undefined) this.#usage.written(key, entry.segment, entry.length);
  }

  #sweep(): void {
    this.#compaction.sweep(() => this.#space.free);
  }
}
