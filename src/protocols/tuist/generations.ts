import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { KeyLocks } from '../../util/key-locks.js';
import type { Operation, ProtocolArtifacts, ReadOperation, UploadOperation } from '../protocol.js';
import type { Scope } from './scope.js';

/**
 * So long, in milliseconds, a process goes by what it has seen. What it sees may be a second old itself: open files are
 * compared with what is at their paths that often.
 */
const FRESH_MS = 1000;
/** Scopes that are remembered. */
const MAX_KNOWN = 1024;
const PATTERN = /^[0-9a-f]{32}$/;
const LENGTH = 32;
/** What stands for the generation of an empty scope: nothing is ever put there. */
export const NONE = 'none';

interface Known {
  readonly generation: string;
  /** In milliseconds of `performance.now()`. */
  readonly seenAt: number;
}

/**
 * What makes all artifacts of a scope unreachable at once, though a store cannot list them: every key of a scope holds its
 * generation, a random name that is kept as an artifact at `<scope>/generation`. To clean is to put another one there. What
 * cannot be reached any more is left to the store's eviction.
 *
 * A scope without that artifact is empty, and its first upload gives it one: so the loss of it (it is looked up too often
 * to be evicted before the rest) costs hits, and never brings back what has been cleaned.
 *
 * Each process looks once a second for each scope that is in use; in between, a request costs one look into a map.
 */
export class Generations {
  readonly #known = new Map<Scope, Known>();
  readonly #locks = new KeyLocks();
  /** Counts what has been put here, so that a look that began before does not hide it. */
  #puts = 0;

  /** The generation, where it is known without a look into the store. */
  peek(scope: Scope): string | undefined {
    const known = this.#known.get(scope);
    return known !== undefined && performance.now() - known.seenAt < FRESH_MS ? known.generation : undefined;
  }

  /** The generation of a scope; undefined for an empty one. */
  async find(scope: Scope, artifacts: ProtocolArtifacts): Promise<string | undefined> {
    for (;;) {
      const known = this.peek(scope);
      if (known !== undefined) return known;
      const puts = this.#puts;
      const seenAt = performance.now();
      const generation = (await artifacts.read(markerOf(scope), LENGTH))?.toString('latin1');
      if (puts !== this.#puts) continue;
      if (generation === undefined || !PATTERN.test(generation)) return undefined;
      this.#remember(scope, { generation, seenAt });
      return generation;
    }
  }

  /** The generation of a scope that is about to get an artifact. */
  ensure(scope: Scope, artifacts: ProtocolArtifacts): Promise<string> {
    // One after the other: of two that are made at once, the first would lose what is uploaded meanwhile.
    return this.#locks.run(scope, async () => (await this.find(scope, artifacts)) ?? this.#put(scope, artifacts));
  }

  /**
   * An operation on a key of a scope. `make` gets what the key begins with, without a slash at its end; it is called at
   * once where that is known, and else when it has been looked up.
   */
  operation(
    scope: Scope,
    needs: 'read' | 'write',
    make: (prefix: string) => ReadOperation | UploadOperation,
  ): Operation {
    const known = this.peek(scope);
    if (known !== undefined) return make(`${scope}/${known}`);
    return {
      kind: 'answer',
      needs,
      namespace: scope,
      answer: async (artifacts) => {
        const found = needs === 'write' ? await this.ensure(scope, artifacts) : await this.find(scope, artifacts);
        return make(`${scope}/${found ?? NONE}`);
      },
    };
  }

  /** Makes a scope empty: for this process when it resolves, for others that share the store within two seconds. */
  async renew(scope: Scope, artifacts: ProtocolArtifacts): Promise<void> {
    await this.#locks.run(scope, () => this.#put(scope, artifacts));
  }

  async #put(scope: Scope, artifacts: ProtocolArtifacts): Promise<string> {
    const generation = randomBytes(LENGTH / 2).toString('hex');
    try {
      await artifacts.put(markerOf(scope), Readable.from([generation], { objectMode: false }));
    } catch (error) {
      // Nobody knows what is there now.
      this.#known.delete(scope);
      throw error;
    } finally {
      this.#puts++;
    }
    this.#remember(scope, { generation, seenAt: performance.now() });
    return generation;
  }

  #remember(scope: Scope, known: Known): void {
    this.#known.delete(scope);
    this.#known.set(scope, known);
    if (this.#known.size <= MAX_KNOWN) return;
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      return;
    }
  }
}

function markerOf(scope: Scope): string {
  return `${scope}/generation`;
}
