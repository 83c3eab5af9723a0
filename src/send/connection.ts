import type { Borrower } from './buffer-pool.js';

const KIB = 1024;
/** What every stream of a session may have in flight, whatever the others do: without it stalled streams starve the rest. */
const GUARANTEED_BYTES = 16 * KIB;
/** What every stream may have in flight when very many have something, and all the first guarantees together. */
const CROWDED_BYTES = 4 * KIB;
const ALL_GUARANTEED_BYTES = 4096 * KIB;
/** What the streams of one session share beyond that. Node ends a session at 10 MB of unsent bytes (maxSessionMemory). */
const SURPLUS_BYTES = 6144 * KIB;

/** A session that has lost so much is worn. */
const WORN_BYTES = 4096 * KIB;

const SMALLEST_WINDOW = 16 * KIB;
const LARGEST_WINDOW = 2048 * KIB;
const FIRST_WINDOW = 256 * KIB;
const FIRST_WINDOW_OF_STREAM = 64 * KIB;
/** A window that needs longer than this to leave is too large for its peer. */
const PROMPT_MS = 20;

/** What is on its way to one peer: a socket of HTTP/1.1, or a session of HTTP/2 with all its streams. */
export class Connection implements Borrower {
  pooledBytes = 0;
  readonly #multiplexed: boolean;
  #guaranteed = 0;
  #surplus = 0;
  #lost = 0;
  /** The window that fitted this peer last. */
  #window: number;

  constructor(multiplexed: boolean) {
    this.#multiplexed = multiplexed;
    this.#window = multiplexed ? FIRST_WINDOW_OF_STREAM : FIRST_WINDOW;
  }

  /** The window that a response starts with, in bytes: what the connection has found to fit. */
  get firstWindow(): number {
    return this.#window;
  }

  /** The window after one that needed `elapsedMs` to leave. */
  nextWindow(window: number, elapsedMs: number): number {
    const next = elapsedMs <= PROMPT_MS ? Math.min(window * 2, LARGEST_WINDOW) : SMALLEST_WINDOW;
    this.#window = next;
    return next;
  }

  /** How many of `bytes` a window may have now, if it is granted at once. Never none: what cannot be had in full can be had in part. */
  room(bytes: number): number {
    // Of what is left of the surplus one stream gets at most half, so that the next ones get some too.
    if (!this.#multiplexed) return bytes;
    const left = Math.max(0, SURPLUS_BYTES - this.#surplus - this.#lost);
    return Math.min(bytes, this.#guarantee + Math.floor(left / 2));
  }

  /**
   * Counts `bytes`, which {@link room} has found, as in flight. Returns how many of them come from what the streams have
   * in common: {@link settle} wants to know.
   */
  grant(bytes: number): number {
    const surplus = this.#multiplexed ? Math.max(0, bytes - this.#guarantee) : 0;
    this.#guaranteed += bytes - surplus;
    this.#surplus += surplus;
    return surplus;
  }

  /** Takes back what {@link grant} counted, once. */
  settle(bytes: number, surplus: number): void {
    this.#guaranteed -= bytes - surplus;
    this.#surplus -= surplus;
  }

  /**
   * Says that up to `bytes` were in flight when their stream was reset. Returns whether the connection is worn: Node (20.20
   * to 24.21) counts what a stream had queued then as in the session's memory for ever, and where that is full it refuses
   * every new stream with ENHANCE_YOUR_CALM, until the client gives up.
   */
  lose(bytes: number): boolean {
    this.#lost += bytes;
    return this.#multiplexed && this.#lost >= WORN_BYTES;
  }

  get #guarantee(): number {
    return this.#guaranteed < ALL_GUARANTEED_BYTES ? GUARANTEED_BYTES : CROWDED_BYTES;
  }
}
