import { CorruptArtifacts } from '../corrupt-artifacts.js';

/** Maximum number of keys that the writer checks at a time. The others are checked when they are found again. */
const MAX_CHECKS = 8;

/**
 * Corrupt artifacts that this process finds as a reader. The writer removes, counts and reports them: it checks them itself, and
 * several readers can find the same one. If there is no writer, this process counts and reports them.
 */
export class CorruptReports {
  readonly #check: (key: string) => Promise<void>;
  readonly #checking = new Set<string>();
  readonly #unchecked = new CorruptArtifacts();

  /** @param check makes the writer check an artifact; rejects if there is no writer */
  constructor(check: (key: string) => Promise<void>) {
    this.#check = check;
  }

  /** Number of corrupt artifacts that no writer has checked. */
  get count(): number {
    return this.#unchecked.count;
  }

  async add(key: string, error: unknown): Promise<void> {
    if (this.#checking.has(key) || this.#checking.size === MAX_CHECKS) return;
    this.#checking.add(key);
    try {
      await this.#check(key);
    } catch {
      this.#unchecked.add(key, error);
    } finally {
      this.#checking.delete(key);
    }
  }

  /** Forgets a key, because its artifact was replaced. */
  forget(key: string): void {
    this.#unchecked.forget(key);
  }
}
