import { HotblobError } from '../contract/errors.js';
import type { PooledBuffer } from './buffer-pool.js';
import { type MapPolicy, mapWindow, type Region, unmappedReason } from './mapped.js';
import type { Source, Transfer, Window } from './source.js';
import type { UnmappedReason } from './tally.js';

/**
 * Minimum size of a partial copy. If fewer bytes are resident, the window is read instead, because a write of so few
 * bytes is inefficient.
 */
const MIN_COPY_BYTES = 16 * 1024;

/** Reasons that also apply to all later windows of the response. After such a reason, mapping is not tried again. */
const LASTING_REASONS: ReadonlySet<UnmappedReason> = new Set(['no-mapper', 'untrusted', 'out-of-reach', 'map-failed']);

/** Sources that a {@link FileSource} may use. */
export interface FilePolicy {
  readonly map: MapPolicy;
  /** For tests: the only source that may be used. A window that this source cannot provide is read. */
  readonly only: 'mapped' | 'copied' | 'read' | undefined;
}

/**
 * Source of a file region. Each window comes from the cheapest source that is safe at that moment: a mapping, a copy
 * from the page cache, or a read on the thread pool. After a read, the next window is read ahead during the write.
 */
export class FileSource implements Source {
  readonly #transfer: Transfer;
  readonly #region: Region;
  #mayMap: boolean;
  readonly #mayCopy: boolean;
  /**
   * Whether a page of the current window is not resident. A copy is then skipped, because it would start a read on this
   * thread.
   */
  #isNotResident = false;
  /** Window that was read ahead. */
  #nextWindow: Window | undefined | Promise<Window | undefined>;
  #isFirst = true;

  /** Takes over the caller's reference to `region.file`. {@link close} releases it. */
  constructor(transfer: Transfer, region: Region, policy: FilePolicy) {
    this.#transfer = transfer;
    this.#region = region;
    this.#mayCopy = policy.only === undefined || policy.only === 'copied';
    const isOff = policy.only !== undefined && policy.only !== 'mapped';
    const reason = isOff ? 'off' : unmappedReason(transfer, region, policy.map, policy.only === 'mapped');
    this.#mayMap = reason === undefined;
    if (reason !== undefined) transfer.record.tally.addUnmapped(reason);
  }

  next(position: number, length: number): Window | undefined | Promise<Window | undefined> {
    const window = this.#nextWindow ?? this.#map(position, length) ?? this.#copyOrRead(position, length);
    this.#nextWindow = undefined;
    const isFirst = this.#isFirst;
    this.#isFirst = false;
    if (window instanceof Promise) {
      return window.then((read) => {
        this.#readAhead(position + (read?.length ?? 0), length);
        return this.#checkRewritten(read, position);
      });
    }
    // The file was checked in the same iteration of the event loop, when the response began.
    return isFirst ? window : this.#checkRewritten(window, position);
  }

  close(): void {
    const next = this.#nextWindow;
    this.#region.file.release();
    if (next instanceof Promise) next.then((window) => window?.release(), ignore);
    else next?.release();
  }

  #map(position: number, length: number): Window | undefined {
    if (!this.#mayMap) return undefined;
    const window = mapWindow(this.#transfer, this.#region, position, length);
    this.#isNotResident = window === 'not-resident';
    if (typeof window === 'object') return window;
    if (LASTING_REASONS.has(window)) this.#mayMap = false;
    this.#transfer.record.tally.addUnmapped(window);
    return undefined;
  }

  #copyOrRead(position: number, length: number): Window | Promise<Window> {
    const { exchange, connection, leases } = this.#transfer;
    const buffer = leases.acquireBuffer(connection, connection.availableBytes(length));
    if (buffer !== undefined) return this.#fill(buffer, position, length);
    return leases
      .waitForBuffer(exchange, connection, length)
      .then((acquired) => this.#fill(acquired, position, length));
  }

  /**
   * Throws for the last window if the file has been rewritten since it was opened. Otherwise the client
   * would take a mixture of old and new bytes for the artifact.
   */
  #checkRewritten(window: Window | undefined, position: number): Window | undefined {
    const { file, end, immutable, isPart } = this.#region;
    if (immutable || window === undefined || position + window.length < end || !file.isRewritten(isPart)) return window;
    window.release();
    throw new HotblobError(
      'ERR_HOTBLOB_REWRITTEN',
      `${file.path}: the file was rewritten in place or renamed while it was sent`,
    );
  }

  /** Starts reading the window at `start` if a spare buffer is available. */
  #readAhead(start: number, length: number): void {
    const { connection, leases } = this.#transfer;
    const rest = Math.min(length, this.#region.end - start);
    if (rest <= 0) return;
    if (this.#isNotResident && this.#region.file.isResident(start, start + rest)) return;
    const buffer = leases.acquireSpareBuffer(connection, connection.availableBytes(rest));
    if (buffer === undefined) return;
    this.#nextWindow = this.#fill(buffer, start, rest);
    // next() reports the error. If it is not called again, the error must not become an unhandled rejection.
    if (this.#nextWindow instanceof Promise) this.#nextWindow.catch(ignore);
  }

  /** Fills a buffer from the page cache or the disk. Takes ownership of the buffer, even if the read fails. */
  #fill(buffer: PooledBuffer, position: number, length: number): Window | Promise<Window> {
    const { file } = this.#region;
    const available = this.#transfer.connection.availableBytes(length);
    // The bytes are reserved before the read, because other streams reserve bytes during the read.
    const window = new BufferWindow(this.#transfer, buffer, Math.min(available, buffer.memory.byteLength));
    const { maxBytes } = window;
    const copied = this.#mayCopy && !this.#isNotResident ? file.copyResident(buffer, maxBytes, position) : 0;
    if (copied === maxBytes || copied >= MIN_COPY_BYTES) return window.fill(copied, 'copied');
    return this.#read(window, position);
  }

  async #read(window: BufferWindow, position: number): Promise<Window> {
    const { file, end } = this.#region;
    try {
      const bytesRead = await file.read(window.buffer.memory, window.maxBytes, position);
      if (bytesRead > 0) return window.fill(bytesRead, 'read');
      const message = `${file.path}: expected at least ${end} bytes, received ${position}; the file was truncated`;
      throw new HotblobError('ERR_HOTBLOB_TRUNCATED', message);
    } catch (error) {
      window.release();
      throw error;
    }
  }
}

/** Window in a pooled buffer. */
class BufferWindow implements Window {
  chunks: readonly Uint8Array[] = [];
  length = 0;
  source: 'copied' | 'read' = 'copied';
  readonly buffer: PooledBuffer;
  /** Number of bytes that are reserved for the window. */
  readonly maxBytes: number;
  readonly #transfer: Transfer;
  readonly #sharedBytes: number;

  /** Takes ownership of `buffer`. */
  constructor(transfer: Transfer, buffer: PooledBuffer, maxBytes: number) {
    this.buffer = buffer;
    this.maxBytes = maxBytes;
    this.#transfer = transfer;
    this.#sharedBytes = transfer.connection.reserve(maxBytes);
  }

  fill(length: number, source: 'copied' | 'read'): this {
    const { memory } = this.buffer;
    this.chunks = [length === memory.byteLength ? memory : memory.subarray(0, length)];
    this.length = length;
    this.source = source;
    return this;
  }

  release(): void {
    const { exchange, connection, leases } = this.#transfer;
    connection.release(this.maxBytes, this.#sharedBytes);
    leases.releaseBuffer(connection, this.buffer, exchange.tracked);
  }
}

function ignore(): void {}
