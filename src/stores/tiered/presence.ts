import { stat } from 'node:fs/promises';
import type { FileArtifact } from '../../contract/artifact.js';

/** For so long a file that was there is taken to be there: as long as the handler does with what it has open. */
const TRUSTED_MS = 1000;
const MAX_PATHS = 10_000;

/** Tells which files are there: a store may say where an artifact would be, without looking. */
export class Presence {
  readonly #seenAt = new Map<string, number>();

  /** Synchronous where a look is not long ago. */
  isThere(artifact: FileArtifact): true | Promise<boolean> {
    const seenAt = this.#seenAt.get(artifact.path);
    if (seenAt !== undefined && performance.now() - seenAt < TRUSTED_MS) return true;
    return this.#look(artifact.path);
  }

  /** Looks at every file again when it is asked for. */
  clear(): void {
    this.#seenAt.clear();
  }

  async #look(path: string): Promise<boolean> {
    this.#seenAt.delete(path);
    const isThere = await stat(path).then(
      (stats) => stats.isFile(),
      () => false, // for whatever reason it cannot be had, the remote store may have it
    );
    if (!isThere) return false;
    for (const oldest of this.#seenAt.keys()) {
      if (this.#seenAt.size < MAX_PATHS) break;
      this.#seenAt.delete(oldest);
    }
    this.#seenAt.set(path, performance.now());
    return true;
  }
}
