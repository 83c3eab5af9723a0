import { stat } from 'node:fs/promises';
import type { FileArtifact } from '../../contract/artifact.js';
import { type FileHolder, holders } from '../../page-cache/release-file.js';

/**
 * Time for which a file that was found is assumed to exist. The handler trusts its open descriptors for the same time.
 */
const TRUSTED_MS = 1000;
const MAX_PATHS = 10_000;

/**
 * Checks whether the files of artifacts exist, because a directory store returns the path of an artifact without a
 * stat.
 */
export class FilePresence implements FileHolder {
  /** Time of the last stat that found the file, by path. */
  readonly #seenAt = new Map<string, number>();
  /** Number of calls that discard results. A stat that was in flight during one of them may be outdated. */
  #discards = 0;

  constructor() {
    holders.add(this);
  }

  /** Forgets a file that was just deleted, because the handler no longer has it open. */
  releaseFile(path: string): undefined {
    this.#discards++;
    this.#seenAt.delete(path);
  }

  close(): void {
    holders.delete(this);
  }

  /** Returns whether the file of an artifact exists. If a recent stat found the file, returns synchronously. */
  exists(artifact: FileArtifact): true | Promise<boolean> {
    const seenAt = this.#seenAt.get(artifact.path);
    if (seenAt !== undefined && performance.now() - seenAt < TRUSTED_MS) return true;
    return this.#stat(artifact.path);
  }

  /** Discards all results, so that the next request for a file checks the file again. */
  clear(): void {
    this.#discards++;
    this.#seenAt.clear();
  }

  async #stat(path: string): Promise<boolean> {
    this.#seenAt.delete(path);
    const discards = this.#discards;
    const isFile = await stat(path).then(
      (stats) => stats.isFile(),
      () => false, // The remote store may have the artifact, whatever the local error is.
    );
    if (!isFile) return false;
    if (discards !== this.#discards) return true; // correct when the stat began, but not for later requests
    for (const oldest of this.#seenAt.keys()) {
      if (this.#seenAt.size < MAX_PATHS) break;
      this.#seenAt.delete(oldest);
    }
    this.#seenAt.set(path, performance.now());
    return true;
  }
}
