import type { Readable } from 'node:stream';
import type { Artifact, ByteRange, StreamArtifact, UploadMetadata } from '../../contract/artifact.js';
import { HotblobError } from '../../contract/errors.js';
import { uploadMetadataOf } from '../../contract/upload-metadata.js';
import type { Attempt } from './breaker.js';
import { type Content, contentOf } from './content.js';
import { logTiered } from './log.js';
import type { WritableStore } from './options.js';
import { type Remote, settle } from './remote.js';
import { Spool, type SpoolMemory } from './spool.js';
import { SpoolReader } from './spool-reader.js';

/** A range that begins so far ahead of what has come is asked for by itself: its reader would wait for long. */
const FAR_BYTES = 4 * 1024 * 1024;
/** So long an artifact that has been found waits for its first reader. */
const UNOPENED_MS = 10_000;

/** What all flights of a store share. */
export interface FlightOptions {
  readonly local: WritableStore;
  readonly remote: Remote;
  readonly lookupTimeoutMs: number;
  readonly spoolDir: string;
  readonly memory: SpoolMemory;
}

/**
 * One request to the remote store for an artifact, however many want it. It comes in once, at the pace of the remote
 * store; its readers follow, each at its own, and so does the local store, which gets to see its end only when all is
 * there. It goes on when readers leave, because it has been paid for; before the first one has begun to read, it ends
 * with the last who wants it.
 */
export class Flight {
  readonly key: string;
  /** Resolves when the local store has it, or will not get it: who looks there from then on finds what there is. */
  readonly over: Promise<void>;
  #end: () => void = () => {};
  readonly #options: FlightOptions;
  readonly #found: Promise<StreamArtifact | undefined>;
  readonly #lookup = new AbortController();
  readonly #transfer = new AbortController();
  readonly #keeping = new AbortController();
  readonly #interested = new Set<AbortSignal>();
  #mayKeep: boolean;
  #kept: Promise<void> = Promise.resolve();
  #spool: Spool | undefined;
  #isLeft = false;
  #unopened: NodeJS.Timeout | undefined;

  /** `mayKeep`: whether the local store is to get it. `onMiss` is told when the remote store does not have it. */
  constructor(key: string, attempt: Attempt, mayKeep: boolean, options: FlightOptions, onMiss: () => void) {
    this.key = key;
    this.#options = options;
    this.#mayKeep = mayKeep;
    this.over = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#found = this.#look(attempt, onMiss);
  }

  /**
   * What the remote store has; undefined where it has nothing, fails, or takes too long.
   *
   * @throws the reason of the signal
   */
  async join(signal: AbortSignal): Promise<Artifact | undefined> {
    signal.throwIfAborted();
    this.#interested.add(signal);
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#interested.delete(signal);
        if (this.#interested.size === 0) this.#leave();
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort);
      // A signal may outlive many flights.
      void this.over.then(() => signal.removeEventListener('abort', onAbort));
      this.#found.then(resolve, reject);
    });
  }

  /** Keeps it from the local store, which is to get another one. Resolves when nothing of it will be put there any more. */
  supersede(): Promise<void> {
    this.#mayKeep = false;
    this.#keeping.abort(new Error('another artifact has taken its place'));
    return this.#kept;
  }

  /** Ends it, and its readers. */
  destroy(reason: Error): void {
    this.#lookup.abort(reason);
    this.#transfer.abort(reason);
    if (this.#spool === undefined) this.#end();
  }

  async #look(attempt: Attempt, onMiss: () => void): Promise<StreamArtifact | undefined> {
    const { remote, lookupTimeoutMs } = this.#options;
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      const message = `no answer of the remote store within ${lookupTimeoutMs} ms`;
      // With this code, so that the remote store counts it as a failure of its own, not as a client that has left.
      this.#lookup.abort(new HotblobError('ERR_HOTBLOB_UPSTREAM_TIMEOUT', message));
    }, lookupTimeoutMs);
    try {
      const { signal } = this.#lookup;
      const artifact = await unlessAborted(async () => remote.store.get(this.key, { signal }), signal);
      const content = artifact && (await contentOf(artifact));
      attempt.succeeded();
      if (artifact !== undefined && content !== undefined) return this.#present(artifact, content);
      onMiss();
    } catch (error) {
      if (this.#lookup.signal.aborted && !isLate) attempt.abandoned();
      else settle(attempt, error);
      logTiered('GET %s: a miss, because the remote store failed: %O', this.key, error);
    } finally {
      clearTimeout(timer);
    }
    this.#end();
    return undefined;
  }

  #present(artifact: Artifact, content: Content): StreamArtifact {
    const { etag, lastModified } = artifact;
    const metadata = uploadMetadataOf(artifact);
    this.#unopened = setTimeout(() => this.#leave(), UNOPENED_MS).unref();
    const { size } = content;
    const open = (range: ByteRange | undefined, { signal }: { readonly signal: AbortSignal }): Promise<Readable> =>
      this.#open(content, metadata, range, signal);
    return { ...metadata, etag, lastModified, kind: 'stream', size, open };
  }

  async #open(
    content: Content,
    metadata: UploadMetadata,
    range: ByteRange | undefined,
    signal: AbortSignal,
  ): Promise<Readable> {
    signal.throwIfAborted();
    const isFar = range !== undefined && range.start > (this.#spool?.length ?? 0) + FAR_BYTES;
    const isTooLate = this.#isLeft || this.#spool?.isOpen === false;
    if (isFar || isTooLate) return content.open(range, signal);
    if (this.#spool === undefined) {
      clearTimeout(this.#unopened);
      this.#spool = new Spool(this.#options.spoolDir, this.#options.memory);
      void this.#transferTo(this.#spool, content, metadata);
    }
    const reader = new SpoolReader(this.#spool, range);
    const onAbort = (): void => void reader.destroy();
    signal.addEventListener('abort', onAbort);
    reader.once('close', () => signal.removeEventListener('abort', onAbort));
    return reader;
  }

  /** Owns the writer's use of the spool. Never rejects. */
  async #transferTo(spool: Spool, content: Content, metadata: UploadMetadata): Promise<void> {
    if (this.#mayKeep) this.#kept = this.#keep(spool, content.size, metadata);
    try {
      const { signal } = this.#transfer;
      const body = await content.open(undefined, signal);
      signal.addEventListener('abort', () => body.destroy(signal.reason));
      if (signal.aborted) body.destroy(signal.reason);
      for await (const chunk of body) await spool.append(chunk);
      if (content.size !== undefined && spool.length !== content.size) {
        const message = `the artifact ended at ${spool.length} of ${content.size} bytes`;
        throw new HotblobError('ERR_HOTBLOB_TRUNCATED', message);
      }
      spool.complete();
    } catch (error) {
      logTiered('GET %s: cut off after %d bytes: %O', this.key, spool.length, error);
      spool.fail(error);
    }
    spool.leave();
    await this.#kept;
    this.#end();
  }

  /** Never rejects. */
  async #keep(spool: Spool, size: number | undefined, metadata: UploadMetadata): Promise<void> {
    const body = new SpoolReader(spool);
    const { signal } = this.#keeping;
    signal.addEventListener('abort', () => body.destroy(signal.reason));
    try {
      await this.#options.local.put(this.key, body, { signal, size, metadata });
    } catch (error) {
      logTiered('%s is not kept: %O', this.key, error);
    }
    body.destroy();
  }

  /** Nobody wants it, or nobody has come to read it. */
  #leave(): void {
    if (this.#spool !== undefined || this.#isLeft) return;
    this.#isLeft = true;
    clearTimeout(this.#unopened);
    this.#lookup.abort(new Error('nobody wants it any more'));
    this.#end();
  }
}

function unlessAborted<T>(request: () => Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    request().then(resolve, reject);
  });
}
