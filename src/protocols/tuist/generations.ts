import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { HotblobError } from '../../contract/errors.js';
import { KeyLocks } from '../../util/key-locks.js';
import type { Operation, ProtocolArtifacts, ReadOperation, ScopeArtifacts, UploadOperation } from '../protocol.js';
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
const NO_GENERATION = 'none';

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
 * Each scope has its own generation of a project, because a client deletes only what is in its own scope.
 *
 * A project without a generation is empty, and its first upload creates one. If the store evicts the generation, all
 * artifacts of the project become unreachable, but deleted artifacts never reappear. The generation is read so often that
 * the store evicts the artifacts first.
 *
 * Each process reads the generation of each project in use from the store once per second, and otherwise from memory.
 */
export class Generations {
  /** Generations by scope and project. */
  readonly #cached = new Map<string, CachedGeneration>();
  readonly #locks = new KeyLocks();
  /** Number of attempts of this process to store a generation, including failed ones. A read that overlaps with a write is repeated. */
  #puts = 0;

  /** Returns the generation from memory, or `undefined` if it has to be read from the store. */
  #peek(project: Project, scope: string): string | undefined {
    const cached = this.#cached.get(cacheKey(project, scope));
    return cached !== undefined && performance.now() - cached.readAt < CACHE_MS ? cached.generation : undefined;
  }

  /** Resolves to the generation of a project in a scope, or to `undefined` for an empty project. */
  async #find(project: Project, artifacts: ScopeArtifacts): Promise<string | undefined> {
    for (;;) {
      const cached = this.#peek(project, artifacts.scope);
      if (cached !== undefined) return cached;
      const puts = this.#puts;
      const readAt = performance.now();
      const generation = (await artifacts.read(generationKey(project), GENERATION_LENGTH))?.toString('latin1');
      if (puts !== this.#puts) continue;
      if (generation === undefined || !GENERATION.test(generation)) return undefined;
      this.#remember(project, artifacts.scope, { generation, readAt });
      return generation;
    }
  }

  /** Resolves to the generation of a project in the own scope of the client, and creates it for an empty project. */
  ensure(project: Project, artifacts: ProtocolArtifacts): Promise<string> {
    // Calls are serialized: if two calls stored a generation each, uploads under the first generation would be lost.
    return this.#locks.run(cacheKey(project, artifacts.own.scope), async () => {
      const generation = (await this.#find(project, artifacts.own)) ?? (await this.#put(project, artifacts));
      if (generation !== undefined) return generation;
      // The client may not replace artifacts, and another process has created the generation meanwhile.
      const created = await this.#find(project, artifacts.own);
      if (created !== undefined) return created;
      const message = `${generationKey(project)}: expected ${GENERATION_LENGTH} hexadecimal digits`;
      throw new HotblobError('ERR_HOTBLOB_CORRUPT', message);
    });
  }

  /**
   * Resolves to the key of an artifact in the first scope that has it, or to `undefined` for a miss.
   *
   * @param keyOf receives the prefix of the key (project and generation) without a trailing slash
   */
  async locate(
    project: Project,
    artifacts: ProtocolArtifacts,
    keyOf: (prefix: string) => string,
  ): Promise<string | undefined> {
    for (const scope of artifacts.scopes) {
      const generation = await this.#find(project, scope);
      const key = keyOf(`${project}/${generation ?? NO_GENERATION}`);
      if ((await scope.describe(key)) !== undefined) return key;
    }
    return undefined;
  }

  /**
   * Returns an operation that reads an artifact of a project.
   *
   * @param keyOf receives the prefix of the key (project and generation) without a trailing slash
   */
  read(project: Project, keyOf: (prefix: string) => string): Operation {
    const operationFor = (key: string): ReadOperation => ({ kind: 'read', namespace: project, key });
    const answer = (artifacts: ProtocolArtifacts): ReadOperation | Promise<ReadOperation> => {
      const missing = keyOf(`${project}/${NO_GENERATION}`);
      const [scope, ...others] = artifacts.scopes;
      if (scope === undefined || others.length > 0) {
        return this.locate(project, artifacts, keyOf).then((key) => operationFor(key ?? missing));
      }
      // Without a promise if possible, because nearly all requests find the generation in memory.
      const cached = this.#peek(project, scope.scope);
      if (cached !== undefined) return operationFor(keyOf(`${project}/${cached}`));
      return this.#find(project, scope).then((generation) =>
        operationFor(generation === undefined ? missing : keyOf(`${project}/${generation}`)),
      );
    };
    return { kind: 'answer', needs: 'read', namespace: project, answer };
  }

  /**
   * Returns an operation that stores an artifact of a project.
   *
   * @param make receives the prefix of the key (project and generation) without a trailing slash
   */
  upload(project: Project, make: (prefix: string) => UploadOperation): Operation {
    const answer = (artifacts: ProtocolArtifacts): UploadOperation | Promise<UploadOperation> => {
      const cached = this.#peek(project, artifacts.own.scope);
      if (cached !== undefined) return make(`${project}/${cached}`);
      return this.ensure(project, artifacts).then((generation) => make(`${project}/${generation}`));
    };
    return { kind: 'answer', needs: 'write', namespace: project, answer };
  }

  /**
   * Makes all artifacts of a project in the own scope of the client unreachable: in this process when the promise resolves, and in
   * other processes that share the store within two seconds.
   *
   * @throws HotblobError `ERR_HOTBLOB_WRITE_ONCE` if the client may not replace artifacts
   */
  async renew(project: Project, artifacts: ProtocolArtifacts): Promise<void> {
    const isRenewed = await this.#locks.run(cacheKey(project, artifacts.own.scope), async () => {
      return artifacts.overwrite && (await this.#put(project, artifacts)) !== undefined;
    });
    if (isRenewed) return;
    const message = 'clean: expected a client that may replace artifacts (overwrite), received one that may not';
    throw new HotblobError('ERR_HOTBLOB_WRITE_ONCE', message);
  }

  /** Stores a new generation. Resolves to `undefined` if there is one that the client may not replace. */
  async #put(project: Project, artifacts: ProtocolArtifacts): Promise<string | undefined> {
    const { scope } = artifacts.own;
    const generation = randomBytes(GENERATION_LENGTH / 2).toString('hex');
    let wasKept: boolean;
    try {
      const body = Readable.from([generation], { objectMode: false });
      ({ wasKept } = await artifacts.put(generationKey(project), body));
    } catch (error) {
      // The store may now have the old or the new generation.
      this.#cached.delete(cacheKey(project, scope));
      throw error;
    } finally {
      this.#puts++;
    }
    if (wasKept) return undefined;
    this.#remember(project, scope, { generation, readAt: performance.now() });
    return generation;
  }

  #remember(project: Project, scope: string, generation: CachedGeneration): void {
    const key = cacheKey(project, scope);
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

function cacheKey(project: Project, scope: string): string {
  return `${scope} ${project}`;
}
