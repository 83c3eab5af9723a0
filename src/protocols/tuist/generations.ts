import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { KeyLocks } from '../../util/key-locks.js';
import type { Operation, ProtocolArtifacts, ReadOperation, UploadOperation } from '../protocol.js';
import type { Project } from './project.js';

/**
 * Age from which a cached generation is read from the store again. The value that is read can itself be one second old,
 * because the handler revalidates open files once per second.
 */
const CACHE_MS = 1000;
/** Maximum number of generations in memory. */
const MAX_CACHED = 1024;
const GENERATION = /^[0-9a-f]{32}$/;
const GENERATION_LENGTH = 32;
/** Stands for the generation in keys of a project without one. No artifact is ever stored under these keys. */
export const NO_GENERATION = 'none';

interface CachedGeneration {
  readonly generation: string;
  /** Time of the read, in milliseconds of `performance.now()`. */
  readonly readAt: number;
}

/**
 * Deletes all artifacts of a project at once, even if the store cannot list them. Every key of a project contains the
 * generation of the project: a random name, stored as an artifact under `<project>/generation`. Once a new generation is
 * stored, all artifacts of the project are unreachable. The store evicts them later.
 *
 * A project without a generation is empty, and its first upload creates one. If the store evicts the generation, all
 * artifacts of the project become unreachable, but deleted artifacts never reappear. The generation is read so often that
 * the store evicts the artifacts first.
 *
 * Each process reads the generation of each project in use from the store once per second, and otherwise from memory.
 */
export class Generations {
  /** Generations by project and view, because another view of the store may have another generation. */
  readonly #cached = new Map<string, CachedGeneration>();
  readonly #locks = new KeyLocks();
  /** Number of attempts of this process to store a generation, including failed ones. A read that overlaps with a write is repeated. */
  #puts = 0;

  /** Returns the generation from memory, or `undefined` if it has to be read from the store. */
  peek(project: Project, artifacts: ProtocolArtifacts): string | undefined {
    const cached = this.#cached.get(cacheKey(project, artifacts));
    return cached !== undefined && performance.now() - cached.readAt < CACHE_MS ? cached.generation : undefined;
  }

  /** Resolves to the generation of a project, or to `undefined` for an empty project. */
  async find(project: Project, artifacts: ProtocolArtifacts): Promise<string | undefined> {
    for (;;) {
      const cached = this.peek(project, artifacts);
      if (cached !== undefined) return cached;
      const puts = this.#puts;
      const readAt = performance.now();
      const generation = (await artifacts.read(generationKey(project), GENERATION_LENGTH))?.toString('latin1');
      if (puts !== this.#puts) continue;
      if (generation === undefined || !GENERATION.test(generation)) return undefined;
      this.#remember(project, artifacts, { generation, readAt });
      return generation;
    }
  }

  /** Resolves to the generation of a project, and creates it for an empty project. */
  ensure(project: Project, artifacts: ProtocolArtifacts): Promise<string> {
    // Calls are serialized: if two calls stored a generation each, uploads under the first generation would be lost.
    return this.#locks.run(
      cacheKey(project, artifacts),
      async () => (await this.find(project, artifacts)) ?? this.#put(project, artifacts),
    );
  }

  /**
   * Returns an operation on a key of a project.
   *
   * @param make receives the prefix of the key (project and generation) without a trailing slash
   */
  operation(
    project: Project,
    needs: 'read' | 'write',
    make: (prefix: string) => ReadOperation | UploadOperation,
  ): Operation {
    return {
      kind: 'answer',
      needs,
      namespace: project,
      answer: (artifacts) => {
        // Without a promise if possible, because nearly all requests find the generation in memory.
        const cached = this.peek(project, artifacts);
        if (cached !== undefined) return make(`${project}/${cached}`);
        const found = needs === 'write' ? this.ensure(project, artifacts) : this.find(project, artifacts);
        return found.then((generation) => make(`${project}/${generation ?? NO_GENERATION}`));
      },
    };
  }

  /**
   * Makes all artifacts of a project unreachable: in this process when the promise resolves, and in other processes that
   * share the store within two seconds.
   */
  async renew(project: Project, artifacts: ProtocolArtifacts): Promise<void> {
    await this.#locks.run(cacheKey(project, artifacts), () => this.#put(project, artifacts));
  }

  async #put(project: Project, artifacts: ProtocolArtifacts): Promise<string> {
    const generation = randomBytes(GENERATION_LENGTH / 2).toString('hex');
    try {
      await artifacts.put(generationKey(project), Readable.from([generation], { objectMode: false }));
    } catch (error) {
      // The store may now have the old or the new generation.
      this.#cached.delete(cacheKey(project, artifacts));
      throw error;
    } finally {
      this.#puts++;
    }
    this.#remember(project, artifacts, { generation, readAt: performance.now() });
    return generation;
  }

  #remember(project: Project, artifacts: ProtocolArtifacts, generation: CachedGeneration): void {
    const key = cacheKey(project, artifacts);
    this.#cached.delete(key);
    this.#cached.set(key, generation);
    if (this.#cached.size <= MAX_CACHED) return;
    for (const oldest of this.#cached.keys()) {
      this.#cached.delete(oldest);
      return;
    }
  }
}

function generationKey(project: Project): string {
  return `${project}/generation`;
}

function cacheKey(project: Project, { view }: ProtocolArtifacts): string {
  return `${view} ${project}`;
}
