import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { KeyLocks } from '../../util/key-locks.js';
import type { Operation, ProtocolArtifacts, ReadOperation, UploadOperation } from '../protocol.js';
import type { Scope } from './scope.js';

/**
 * Age from which a cached generation is read from the store again. The value that is read can itself be one second old,
 * because the handler revalidates open files once per second.
 */
const CACHE_MS = 1000;
/** Maximum number of generations in memory. */
const MAX_CACHED = 1024;
const GENERATION = /^[0-9a-f]{32}$/;
const GENERATION_LENGTH = 32;
/** Stands for the generation in keys of a scope without one. No artifact is ever stored under these keys. */
export const NO_GENERATION = 'none';

interface CachedGeneration {
  readonly generation: string;
  /** Time of the read, in milliseconds of `performance.now()`. */
  readonly readAt: number;
}

/**
 * Deletes all artifacts of a scope at once, even if the store cannot list them. Every key of a scope contains the
 * generation of the scope: a random name, stored as an artifact under `<scope>/generation`. Once a new generation is
 * stored, all artifacts of the scope are unreachable. The store evicts them later.
 *
 * A scope without a generation is empty, and its first upload creates one. If the store evicts the generation, all
 * artifacts of the scope become unreachable, but deleted artifacts never reappear. The generation is read so often that
 * the store evicts the artifacts first.
 *
 * Each process reads the generation of each scope in use from the store once per second, and otherwise from memory.
 */
export class Generations {
  readonly #cached = new Map<Scope, CachedGeneration>();
  readonly #locks = new KeyLocks();
  /** Number of attempts of this process to store a generation, including failed ones. A read that overlaps with a write is repeated. */
  #puts = 0;

  /** Returns the generation from memory, or `undefined` if it has to be read from the store. */
  peek(scope: Scope): string | undefined {
    const cached = this.#cached.get(scope);
    return cached !== undefined && performance.now() - cached.readAt < CACHE_MS ? cached.generation : undefined;
  }

  /** Resolves to the generation of a scope, or to `undefined` for an empty scope. */
  async find(scope: Scope, artifacts: ProtocolArtifacts): Promise<string | undefined> {
    for (;;) {
      const cached = this.peek(scope);
      if (cached !== undefined) return cached;
      const puts = this.#puts;
      const readAt = performance.now();
      const generation = (await artifacts.read(generationKey(scope), GENERATION_LENGTH))?.toString('latin1');
      if (puts !== this.#puts) continue;
      if (generation === undefined || !GENERATION.test(generation)) return undefined;
      this.#remember(scope, { generation, readAt });
      return generation;
    }
  }

  /** Resolves to the generation of a scope, and creates it for an empty scope. */
  ensure(scope: Scope, artifacts: ProtocolArtifacts): Promise<string> {
    // Calls are serialized: if two calls stored a generation each, uploads under the first generation would be lost.
    return this.#locks.run(scope, async () => (await this.find(scope, artifacts)) ?? this.#put(scope, artifacts));
  }

  /**
   * Returns an operation on a key of a scope.
   *
   * @param make receives the prefix of the key (scope and generation) without a trailing slash. It is called at once if
   *   the generation is in memory, otherwise after the generation has been read
   */
  operation(
    scope: Scope,
    needs: 'read' | 'write',
    make: (prefix: string) => ReadOperation | UploadOperation,
  ): Operation {
    const cached = this.peek(scope);
    if (cached !== undefined) return make(`${scope}/${cached}`);
    return {
      kind: 'answer',
      needs,
      namespace: scope,
      answer: async (artifacts) => {
        const generation = needs === 'write' ? await this.ensure(scope, artifacts) : await this.find(scope, artifacts);
        return make(`${scope}/${generation ?? NO_GENERATION}`);
      },
    };
  }

  /**
   * Makes all artifacts of a scope unreachable: in this process when the promise resolves, and in other processes that
   * share the store within two seconds.
   */
  async renew(scope: Scope, artifacts: ProtocolArtifacts): Promise<void> {
    await this.#locks.run(scope, () => this.#put(scope, artifacts));
  }

  async #put(scope: Scope, artifacts: ProtocolArtifacts): Promise<string> {
    const generation = randomBytes(GENERATION_LENGTH / 2).toString('hex');
    try {
      await artifacts.put(generationKey(scope), Readable.from([generation], { objectMode: false }));
    } catch (error) {
      // The store may now have the old or the new generation.
      this.#cached.delete(scope);
      throw error;
    } finally {
      this.#puts++;
    }
    this.#remember(scope, { generation, readAt: performance.now() });
    return generation;
  }

  #remember(scope: Scope, generation: CachedGeneration): void {
    this.#cached.delete(scope);
    this.#cached.set(scope, generation);
    if (this.#cached.size <= MAX_CACHED) return;
    for (const oldest of this.#cached.keys()) {
      this.#cached.delete(oldest);
      return;
    }
  }
}

function generationKey(scope: Scope): string {
  return `${scope}/generation`;
}
