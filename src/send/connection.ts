import type { Borrower } from './buffer-pool.js';

const KIB = 1024;
/**
 * Number of bytes that each stream of a session may have in flight, however many the other streams use. Without this
 * guarantee, stalled streams would starve the others.
 */
const GUARANTEED_BYTES = 16 * KIB;
/**
 * Guarantee of a stream that applies instead of {@link GUARANTEED_BYTES} when the guaranteed bytes in flight reach
 * {@link ALL_GUARANTEED_BYTES}.
 */
const CROWDED_BYTES = 4 * KIB;
const ALL_GUARANTEED_BYTES = 4096 * KIB;
/**
 * Number of bytes in flight that the streams of a session share, in addition to their guarantees. Node closes a session
 * at 10 MB of unsent bytes (maxSessionMemory).
 */
const SHARED_BYTES = 6144 * KIB;

/** Number of unsent bytes of reset streams at which a session must be replaced. */
const RESET_BUDGET_BYTES = 4096 * KIB;

const SMALLEST_WINDOW = 16 * KIB;
const LARGEST_WINDOW = 2048 * KIB;
const FIRST_WINDOW = 256 * KIB;
const FIRST_WINDOW_OF_STREAM = 64 * KIB;
/**
 * Time for the bytes of a window (the part of a body that is sent with one write) to leave the process. If they take
 * longer, the next windows are small.
 */
const PROMPT_MS = 20;

/** Limits on the bytes in flight of one connection: an HTTP/1.1 socket, or an HTTP/2 session with all its streams. */
export class Connection implements Borrower {
  pooledBytes = 0;
  readonly #multiplexed: boolean;
  #guaranteedBytes = 0;
  #sharedBytes = 0;
  #resetBytes = 0;
  /** Current window size of the connection, in bytes. */
  #window: number;

  constructor(multiplexed: boolean) {
    this.#multiplexed = multiplexed;
    this.#window = multiplexed ? FIRST_WINDOW_OF_STREAM : FIRST_WINDOW;
  }

  /**
   * Size of the first window of a response, in bytes: the window size that was last computed for this connection, or
   * the default.
   */
  get firstWindow(): number {
    return this.#window;
  }

  /**
   * Returns the size of the next window. The previous window had `window` bytes and left the process after `elapsedMs`.
   */
  nextWindow(window: number, elapsedMs: number): number {
    const next = elapsedMs <= PROMPT_MS ? Math.min(window * 2, LARGEST_WINDOW) : SMALLEST_WINDOW;
    this.#window = next;
    return next;
  }

  /** Returns the number of bytes that a window may have now: at most `bytes`, and at least 1 unless `bytes` is 0. */
  availableBytes(bytes: number): number {
    if (!this.#multiplexed) return bytes;
    const left = Math.max(0, SHARED_BYTES - this.#sharedBytes - this.#resetBytes);
    // A stream gets at most half of the remaining shared bytes, so that the next streams get some too.
    return Math.min(bytes, this.#guarantee + Math.floor(left / 2));
  }

  /**
   * Counts `bytes` bytes as in flight. `bytes` must not exceed the result of {@link availableBytes}. Returns how many
   * of these bytes are shared; the caller passes the number to {@link release}.
   */
  reserve(bytes: number): number {
    const sharedBytes = this.#multiplexed ? Math.max(0, bytes - this.#guarantee) : 0;
    this.#guaranteedBytes += bytes - sharedBytes;
    this.#sharedBytes += sharedBytes;
    return sharedBytes;
  }

  /** Reverts one call of {@link reserve}. */
  release(bytes: number, sharedBytes: number): void {
    this.#guaranteedBytes -= bytes - sharedBytes;
    this.#sharedBytes -= sharedBytes;
  }

  /**
   * Counts `bytes` bytes that were in flight when their stream was reset. Returns whether the session is past its reset
   * budget and must be replaced. Node 20.20 to 24.21 counts the queued bytes of a reset stream against the memory of
   * the session for ever. When that memory is full, Node refuses every new stream with ENHANCE_YOUR_CALM.
   */
  addResetBytes(bytes: number): boolean {
    this.#resetBytes += bytes;
    return this.#multiplexed && this.#resetBytes >= RESET_BUDGET_BYTES;
  }

  get #guarantee(): number {
    return this.#guaranteedBytes < ALL_GUARANTEED_BYTES ? GUARANTEED_BYTES : CROWDED_BYTES;
  }
}
