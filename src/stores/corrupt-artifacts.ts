import { messageOf, reportEvent } from '../util/report-event.js';

/** Maximum number of keys that are remembered. Beyond it, an artifact may be counted and reported again. */
const MAX_KEYS = 10_000;

/** Corrupt artifacts that a store has found: counts and reports each of them once, until it is replaced. */
export class CorruptArtifacts {
  readonly #reported = new Set<string>();
  #count = 0;

  /** Number of corrupt artifacts found. */
  get count(): number {
    return this.#count;
  }

  /** Counts and reports a corrupt artifact, unless it is known already. */
  add(key: string, error: unknown): void {
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
