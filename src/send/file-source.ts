import { HotblobError } from '../contract/errors.js';
import type { PooledBuffer } from './buffer-pool.js';
import { type MapPolicy, mappedWindow, type Region, refusal } from './mapped.js';
import type { Source, Transfer, Window } from './source.js';
import type { UnmappedReason } from './tally.js';

/** A partial copy below this size is not worth a write of its own. */
const WORTHWHILE_BYTES = 16 * 1024;

/** What refuses every later window too: it costs one attempt a response. */
const LASTING: ReadonlySet<UnmappedReason> = new Set(['no-mapper', 'untrusted', 'out-of-reach', 'map-failed']);

/** Which ways to go. */
export interface FilePolicy {
  readonly map: MapPolicy;
  /** Only this way, and reads where it is closed. For tests. */
  readonly only: 'mapped' | 'copied' | 'read' | undefined;
}

/**
 * The windows of a file region, each by the cheapest safe way that is open at that moment: mapped, copied from the page
 * cache, read on the thread pool. While it reads it is one window ahead of the writes.
 */
export class FileSource implements Source {
  readonly #transfer: Transfer;
  readonly #region: Region;
  #mayMap: boolean;
  readonly #mayCopy: boolean;
  /** Whether a mapping has just said that the window is not resident: a copy that tries would start a read on this thread. */
  #isAbsent = false;
  #ahead: Window | undefined | Promise<Window | undefined>;
  #isFirst = true;

  /** Takes over the caller's use of `region.file`, and leaves it when closed. */
  constructor(transfer: Transfer, region: Region, policy: FilePolicy) {
    this.#transfer = transfer;
    this.#region = region;
    this.#mayCopy = policy.only === undefined || policy.only === 'copied';
    const off = policy.only !== undefined && policy.only !== 'mapped';
    const reason = off ? 'off' : refusal(transfer, region, policy.map, policy.only === 'mapped');
    this.#mayMap = reason === undefined;
    if (reason !== undefined) transfer.record.tally.addUnmapped(reason);
  }

  next(position: number, length: number): Window | undefined | Promise<Window | undefined> {
    const window = this.#ahead ?? this.#mapped(position, length) ?? this.#filled(position, length);
    this.#ahead = undefined;
    const isFirst = this.#isFirst;
    this.#isFirst = false;
    if (window instanceof Promise) {
      return window.then((read) => {
        const next = this.#readAhead(read, position, length);
        return isFirst ? next : this.#unlessRewritten(next, position);
      });
    }
    return isFirst ? window : this.#unlessRewritten(window, position);
  }

  close(): void {
    const ahead = this.#ahead;
    this.#region.file.leave();
    if (ahead instanceof Promise) ahead.then((window) => window?.release(), ignore);
    else ahead?.release();
  }

  #mapped(position: number, length: number): Window | undefined {
    if (!this.#mayMap) return undefined;
    const window = mappedWindow(this.#transfer, this.#region, position, length);
    this.#isAbsent = window === 'not-resident';
    if (typeof window === 'object') return window;
    if (LASTING.has(window)) this.#mayMap = false;
    this.#transfer.record.tally.addUnmapped(window);
    return undefined;
  }

  #filled(position: number, length: number): Window | Promise<Window> {
    const { exchange, connection, leases } = this.#transfer;
    const buffer = leases.takeBuffer(connection, connection.room(length));
    if (buffer !== undefined) return this.#fill(buffer, position, length);
    return leases.waitForBuffer(exchange, connection, length).then((served) => this.#fill(served, position, length));
  }

  /**
   * Refuses the last of several windows of a file that was written over meanwhile: the client would take a mixture of
   * before and after for the artifact.
   */
  #unlessRewritten(window: Window | undefined, position: number): Window | undefined {
    const { file, end, immutable } = this.#region;
    if (immutable || window === undefined || position + window.length < end || !file.isRewritten) return window;
    window.release();
    throw new HotblobError('ERR_HOTBLOB_REWRITTEN', `the file was rewritten while it was sent: ${file.path}`);
  }

  /** After a window that had to be read the next one is prepared at once, if there is a buffer to spare. */
  #readAhead(window: Window | undefined, position: number, length: number): Window | undefined {
    const start = position + (window?.length ?? 0);
    const { connection, leases } = this.#transfer;
    const rest = Math.min(length, this.#region.end - start);
    if (rest <= 0) return window;
    if (this.#isAbsent && this.#region.file.isResident(start, start + rest)) return window;
    const buffer = leases.takeSpareBuffer(connection, connection.room(rest));
    if (buffer === undefined) return window;
    this.#ahead = this.#fill(buffer, start, rest);
    // Whoever asks for it next sees the failure; if nobody asks, it is nobody's.
    if (this.#ahead instanceof Promise) this.#ahead.catch(ignore);
    return window;
  }

  /** Fills a buffer with what is in the page cache, or else from the disk. Owns the buffer, whatever happens. */
  #fill(buffer: PooledBuffer, position: number, wanted: number): Window | Promise<Window> {
    const { file } = this.#region;
    const room = this.#transfer.connection.room(wanted);
    // Granted before it is filled: other streams ask for their share while this one reads.
    const window = new FilledWindow(this.#transfer, buffer, Math.min(room, buffer.memory.byteLength));
    const copied = this.#mayCopy && !this.#isAbsent ? file.copyResident(buffer, window.granted, position) : 0;
    if (copied === window.granted || copied >= WORTHWHILE_BYTES) return window.fill(copied, 'copied');
    return this.#read(window, position);
  }

  async #read(window: FilledWindow, position: number): Promise<Window> {
    const { file, end } = this.#region;
    try {
      const bytesRead = await file.read(window.buffer.memory, window.granted, position);
      if (bytesRead > 0) return window.fill(bytesRead, 'read');
      throw new HotblobError('ERR_HOTBLOB_TRUNCATED', `the file ended at ${position}, before ${end} bytes`);
    } catch (error) {
      window.release();
      throw error;
    }
  }
}

/** A window in a pooled buffer. */
class FilledWindow implements Window {
  chunks: readonly Uint8Array[] = [];
  length = 0;
  source: 'copied' | 'read' = 'copied';
  readonly buffer: PooledBuffer;
  /** How many bytes it may have. */
  readonly granted: number;
  readonly #transfer: Transfer;
  readonly #surplus: number;

  /** Takes over the lease of `buffer`. */
  constructor(transfer: Transfer, buffer: PooledBuffer, granted: number) {
    this.buffer = buffer;
    this.granted = granted;
    this.#transfer = transfer;
    this.#surplus = transfer.connection.grant(granted);
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
    connection.settle(this.granted, this.#surplus);
    leases.giveBuffer(connection, this.buffer, exchange.tracked);
  }
}

function ignore(): void {}
