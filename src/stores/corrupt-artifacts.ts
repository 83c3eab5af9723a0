import { messageOf, reportEvent } from '../util/report-event.js';

/** Maximum number of keys that are remembered. Beyond it, an artifact may be counted and reported again. */
const MAX_KEYS = 10_000;

/** Property with the corrupt artifacts of our stores. A process that shares the store with others takes them over. */
export const CORRUPT_ARTIFACTS: unique symbol = Symbol('corruptArtifacts');

/** Receiver of a corrupt artifact. */
export type CorruptListener = (key: string, error: unknown) => void;

/** Passes the corrupt artifacts that a store finds to `listener`, instead of counting and reporting them. */
export function passCorruptArtifacts(
  store: object | { readonly [CORRUPT_ARTIFACTS]: CorruptArtifacts },
  listener: CorruptListener,
): void {
  if (CORRUPT_ARTIFACTS in store) store[CORRUPT_ARTIFACTS].listener = listener;
}

/** Corrupt artifacts that a store has found: counts and reports each of them once, until it is replaced. */
export class CorruptArtifacts {
  listener: CorruptListener | undefined;
  readonly #reported = new Set<string>();
  #count = 0;

  /** Number of corrupt artifacts found. */
  get count(): number {
    return this.#count;
  }

  /** Counts and reports a corrupt artifact, unless it is known already or there is a listener. */
  add(key: string, error: unknown): void {
    if (this.listener !== undefined) {
      this.listener(key, error);
      return;
    }
    if (this.#reported.has(key)) return;
    if (this.#reported.size >= MAX_KEYS) this.#reported.clear();
    this.#reported.add(key);
    this.#count++;
    reportEvent('artifact corrupt', `${key}: ${messageOf(error)}`, error);
  }

  /** Forgets a key, because its artifact was replaced. */
  forget(key: string): void {
    this.#reported.delete(key);
  }
}
