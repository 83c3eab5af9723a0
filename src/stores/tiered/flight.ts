import type { Readable } from 'node:stream';
import type { Artifact, ByteRange, StreamArtifact, UploadMetadata } from '../../contract/artifact.js';
import { HotblobError } from '../../contract/errors.js';
import { uploadMetadataOf } from '../../contract/upload-metadata.js';
import { messageOf, reportEvent } from '../../util/report-event.js';
import type { Attempt } from './breaker.js';
import { type Content, contentOf } from './content.js';
import { logTiered } from './log.js';
import type { WritableStore } from './options.js';
import { type Remote, reportError } from './remote.js';
import { FILE_BYTES, Spool, type SpoolBudget } from './spool.js';
import { SpoolReader } from './spool-reader.js';

/**
 * Maximum distance between the received bytes and the start of a range that waits for them. A range that starts further
 * ahead is requested separately, because waiting would take too long.
 */
const MAX_AHEAD_BYTES = 4 * 1024 * 1024;
/** Time after the lookup at which an artifact without a reader is cancelled. */
const OPEN_TIMEOUT_MS = 10_000;

/** Dependencies that all flights of a store share. */
export interface FlightOptions {
  readonly local: WritableStore;
  readonly remote: Remote;
  readonly lookupTimeoutMs: number;
  readonly spoolDir: string;
  readonly memory: SpoolBudget;
  readonly disk: SpoolBudget;
}

/**
 * Download of one artifact from the remote store. All clients that request the artifact share it. The artifact is
 * received once, at the pace of the remote store. Each client and the local store read the received bytes at their own
 * pace. The local store sees the end of the artifact only when all bytes have been received.
 *
 * If all clients have disconnected before a reader opened the artifact, the flight is cancelled. Later it completes
 * even without clients, so that the local store gets the artifact. If the local store does not keep it, the flight is
 * cancelled when the last client has disconnected.
 */
export class Flight {
  readonly key: string;
  /** Resolves when the local store has the artifact, or when it is certain that the local store will not get it. */
  readonly done: Promise<void>;
  #finish: () => void = () => {};
  readonly #options: FlightOptions;
  readonly #found: Promise<StreamArtifact | undefined>;
  readonly #lookupAbort = new AbortController();
  readonly #transferAbort = new AbortController();
  readonly #localPutAbort = new AbortController();
  /** Signals of the clients that have not disconnected. */
  readonly #clients = new Set<AbortSignal>();
  #storesLocally: boolean;
  #localPut: Promise<void> = Promise.resolve();
  #spool: Spool | undefined;
  #isCancelled = false;
  #openTimer: NodeJS.Timeout | undefined;

  /**
   * Starts the lookup in the remote store.
   *
   * @param storesLocally whether to put the artifact into the local store
   * @param onMiss called if the remote store does not have the artifact
   */
  constructor(key: string, attempt: Attempt, storesLocally: boolean, options: FlightOptions, onMiss: () => void) {
    this.key = key;
    this.#options = options;
    this.#storesLocally = storesLocally;
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#found = this.#lookUp(attempt, onMiss);
  }

  /**
   * Adds a client and returns the artifact. Returns undefined if the remote store does not have the artifact, fails or
   * takes too long.
   *
   * @throws the reason of the signal
   */
  async join(signal: AbortSignal): Promise<Artifact | undefined> {
    signal.throwIfAborted();
    this.#clients.add(signal);
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#clients.delete(signal);
        if (this.#clients.size === 0) this.#cancel();
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort);
      // The listener is removed at the end of the flight, because a signal may outlive many flights.
      void this.done.then(() => signal.removeEventListener('abort', onAbort));
      this.#found.then(resolve, reject);
    });
  }

  /**
   * Prevents that the artifact is put into the local store, because a newer artifact is being written. Resolves when
   * the flight will no longer change the local store.
   */
  supersede(): Promise<void> {
    this.#storesLocally = false;
    this.#localPutAbort.abort(new Error('the artifact has been replaced'));
    return this.#localPut;
  }

  /** Aborts the flight. The readers of its artifact fail with `reason`. */
  destroy(reason: Error): void {
    this.#lookupAbort.abort(reason);
    this.#transferAbort.abort(reason);
    if (this.#spool === undefined) this.#finish();
  }

  async #lookUp(attempt: Attempt, onMiss: () => void): Promise<StreamArtifact | undefined> {
    const { remote, lookupTimeoutMs } = this.#options;
    let isTimedOut = false;
    const timer = setTimeout(() => {
      isTimedOut = true;
      const message = `no response of the remote store within ${lookupTimeoutMs} ms`;
      // With this error code, an upstream store counts the abort as a failure of the upstream, not as a disconnected
      // client.
      this.#lookupAbort.abort(new HotblobError('ERR_HOTBLOB_UPSTREAM_TIMEOUT', message));
    }, lookupTimeoutMs);
    try {
      const { signal } = this.#lookupAbort;
      const artifact = await rejectOnAbort(async () => remote.store.get(this.key, { signal }), signal);
      const content = artifact && (await contentOf(artifact));
      attempt.succeeded();
      if (artifact !== undefined && content !== undefined) return this.#toStreamArtifact(artifact, content);
      onMiss();
    } catch (error) {
      if (this.#lookupAbort.signal.aborted && !isTimedOut) attempt.abandoned();
      else reportError(attempt, error);
      logTiered('GET %s: answered as a miss, the lookup in the remote store failed: %O', this.key, error);
    } finally {
      clearTimeout(timer);
    }
    this.#finish();
    return undefined;
  }

  #toStreamArtifact(artifact: Artifact, content: Content): StreamArtifact {
    const { etag, lastModified } = artifact;
    const metadata = uploadMetadataOf(artifact);
    this.#openTimer = setTimeout(() => this.#cancel(), OPEN_TIMEOUT_MS).unref();
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
    const isFarAhead = range !== undefined && range.start > (this.#spool?.length ?? 0) + MAX_AHEAD_BYTES;
    const isOver = this.#isCancelled || this.#spool?.isOpen === false;
    if (isFarAhead || isOver) return content.open(range, signal);
    const isFirst = this.#spool === undefined;
    if (this.#spool === undefined) {
      clearTimeout(this.#openTimer);
      if (this.#isTooLarge(content.size)) {
        logTiered(
          'GET %s: sent but not stored: %d bytes are too much for the spool or the local store',
          this.key,
          content.size,
        );
        this.#isCancelled = true;
        this.#finish();
        return content.open(range, signal);
      }
      const { spoolDir, memory, disk } = this.#options;
      this.#spool = new Spool(spoolDir, memory, disk, () => {
        this.#isCancelled = true; // a client that opens the artifact from now on gets a download of its own
        this.#transferAbort.abort(new Error('no client reads the artifact, and the local store does not keep it'));
      });
    }
    const reader = new SpoolReader(this.#spool, range, this.#restOf(content, range, signal));
    // The reader has retained the spool before the local store can refuse the artifact, which may be synchronous.
    if (isFirst) void this.#transferTo(this.#spool, content, metadata);
    const onAbort = (): void => void reader.destroy();
    signal.addEventListener('abort', onAbort);
    reader.once('close', () => signal.removeEventListener('abort', onAbort));
    return reader;
  }

  /** Returns whether an artifact can neither be shared nor stored. It is then downloaded separately for each client. */
  #isTooLarge(size: number | undefined): boolean {
    const { local, disk } = this.#options;
    const { maxBytes = Number.POSITIVE_INFINITY } = local.stats?.() ?? {};
    return size !== undefined && size > Math.min(disk.maxBytes - FILE_BYTES, maxBytes);
  }

  /**
   * Returns a function that requests the rest of the artifact, after the transfer or the spool has failed. Returns undefined
   * if the size is unknown, or if nothing shows that the artifact is still the same.
   */
  #restOf(content: Content, range: ByteRange | undefined, signal: AbortSignal) {
    const end = range?.end ?? content.size;
    if (end === undefined || !content.isVersioned) return undefined;
    return (position: number): Promise<Readable> => content.open({ start: position, end }, signal);
  }

  /** Writes the artifact into the spool, then releases the writer's reference to the spool. Never rejects. */
  async #transferTo(spool: Spool, content: Content, metadata: UploadMetadata): Promise<void> {
    if (this.#storesLocally) this.#localPut = this.#putLocally(spool, content, metadata);
    try {
      try {
        await this.#receive(spool, content.open(undefined, this.#transferAbort.signal));
      } catch (error) {
        const openRest = this.#restOf(content, undefined, this.#transferAbort.signal);
        if (openRest === undefined || spool.isUnwritable || this.#transferAbort.signal.aborted) throw error;
        logTiered('GET %s: requesting the rest after %d bytes: %O', this.key, spool.length, error);
        await this.#receive(spool, openRest(spool.length));
      }
      if (content.size !== undefined && spool.length !== content.size) {
        const message = `${this.key}: expected ${content.size} bytes from the remote store, received ${spool.length}`;
        throw new HotblobError('ERR_HOTBLOB_TRUNCATED', message);
      }
      spool.complete();
    } catch (error) {
      logTiered('GET %s: transfer failed after %d bytes: %O', this.key, spool.length, error);
      if (spool.isUnwritable) reportEvent('spool failed', messageOf(error), error);
      spool.fail(error);
    }
    spool.release();
    await this.#localPut;
    this.#finish();
  }

  async #receive(spool: Spool, opening: Promise<Readable>): Promise<void> {
    const { signal } = this.#transferAbort;
    const body = await opening;
    signal.addEventListener('abort', () => body.destroy(signal.reason));
    if (signal.aborted) body.destroy(signal.reason);
    for await (const chunk of body) await spool.append(chunk);
  }

  /** Puts the artifact into the local store. Never rejects. */
  async #putLocally(spool: Spool, content: Content, metadata: UploadMetadata): Promise<void> {
    const { signal } = this.#localPutAbort;
    const body = new SpoolReader(spool, undefined, this.#restOf(content, undefined, signal));
    signal.addEventListener('abort', () => body.destroy(signal.reason));
    try {
      await this.#options.local.put(this.key, body, { signal, size: content.size, metadata });
    } catch (error) {
      logTiered('GET %s: not stored locally: %O', this.key, error);
    }
    body.destroy();
  }

  /** Cancels a flight whose artifact no client has started to read. */
  #cancel(): void {
    if (this.#spool !== undefined || this.#isCancelled) return;
    this.#isCancelled = true;
    clearTimeout(this.#openTimer);
    this.#lookupAbort.abort(new Error('all clients have disconnected'));
    this.#finish();
  }
}

/**
 * Settles like `request`. If the signal is aborted first, rejects with its reason at once, even if the store ignores
 * its signal.
 */
function rejectOnAbort<T>(request: () => Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    request().then(resolve, reject);
  });
}
