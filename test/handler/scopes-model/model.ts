import type { AccessLevel } from '../../../src/access/grant.js';

/** Client as the access policy sees it: a level, or a grant. */
export type Client =
  | AccessLevel
  | {
      readonly level: AccessLevel;
      readonly scope?: string | undefined;
      readonly reads?: readonly string[] | undefined;
      readonly overwrite?: boolean | undefined;
      readonly subject?: string | undefined;
    };

/** Artifact that the model has. Two entries are never equal, so that an entry stands for one upload. */
export interface Entry {
  readonly body: Buffer;
  /** Keys of the blobs that must be readable for the entry to be sent. */
  readonly needs?: readonly string[] | undefined;
}

/** Result of an upload in the model. */
export type Stored = 'created' | 'replaced' | 'kept';

export function levelOf(client: Client): AccessLevel {
  return typeof client === 'string' ? client : client.level;
}

export function scopeOf(client: Client): string {
  return (typeof client === 'object' && client.scope) || 'default';
}

/** Returns the scopes in which a client finds artifacts, in order. */
export function chainOf(client: Client): readonly string[] {
  const own = scopeOf(client);
  const reads = (typeof client === 'object' && client.reads) || [];
  const chain = reads.filter((scope, index) => reads.indexOf(scope) === index);
  return chain.includes(own) ? chain : [...chain, own];
}

/** Returns the status of a refusal, or undefined if the client may proceed. */
export function refusalOf(client: Client, needs: 'read' | 'write'): number | undefined {
  const level = levelOf(client);
  if (level === 'none') return 401;
  return needs === 'write' && level === 'read' ? 403 : undefined;
}

/** Maps of artifacts, one for each scope. */
export class Model {
  readonly #scopes = new Map<string, Map<string, Entry>>();
  readonly #overwrite: boolean;

  /** @param overwrite whether uploads replace artifacts if the grant of the client does not say */
  constructor(overwrite: boolean) {
    this.#overwrite = overwrite;
  }

  mayOverwrite(client: Client): boolean {
    return (typeof client === 'object' ? client.overwrite : undefined) ?? this.#overwrite;
  }

  /** Returns the artifact that a read of the client finds. */
  find(client: Client, key: string): Entry | undefined {
    for (const scope of chainOf(client)) {
      const entry = this.#scopes.get(scope)?.get(key);
      if (entry === undefined) continue;
      // The protocol checks the artifact that was found. Another scope is not asked.
      return entry.needs?.every((blob) => this.find(client, blob) !== undefined) === false ? undefined : entry;
    }
    return undefined;
  }

  /** Returns the artifact that a write of the client would change. */
  own(client: Client, key: string): Entry | undefined {
    return this.#scopes.get(scopeOf(client))?.get(key);
  }

  put(client: Client, key: string, entry: Entry, isContentAddressed: boolean): Stored {
    const scope = scopeOf(client);
    const artifacts = this.#scopes.get(scope) ?? new Map<string, Entry>();
    this.#scopes.set(scope, artifacts);
    const exists = artifacts.has(key);
    if (exists && (isContentAddressed || !this.mayOverwrite(client))) return 'kept';
    artifacts.set(key, entry);
    return exists ? 'replaced' : 'created';
  }

  delete(client: Client, key: string): boolean {
    return this.#scopes.get(scopeOf(client))?.delete(key) ?? false;
  }

  /** Removes all artifacts of the client's scope whose key has a prefix. */
  clean(client: Client, prefix: string): void {
    const artifacts = this.#scopes.get(scopeOf(client));
    for (const key of artifacts?.keys() ?? []) if (key.startsWith(prefix)) artifacts?.delete(key);
  }
}
