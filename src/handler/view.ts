import type { CheckedGrant } from '../access/grant.js';
import type { Artifact, FileArtifact } from '../contract/artifact.js';
import { assertKey, type GetOptions, isKey, type Store } from '../contract/store.js';
import { DEFAULT_SCOPE, scopePrefix } from '../keys/scope.js';
import type { OpenFile } from '../page-cache/open-file.js';
import type { OpenFiles } from '../page-cache/open-files.js';
import { isPromise } from '../util/is-promise.js';

/** Artifacts that can be looked up. */
export type ReadableArtifacts = Pick<Store, 'get'>;

/** Artifacts of one scope. */
export interface ReadableScope {
  readonly name: string;
  readonly artifacts: ReadableArtifacts;
}

/** What a request sees of the store, and what it may change. Keys have the prefix of their protocol, and no scope. */
export interface View {
  /** Text that is the same for views of the same scopes. */
  readonly name: string;
  /** Artifacts that the request may read. */
  readonly readable: ReadableArtifacts;
  /** The same artifacts, divided into scopes, in the order in which they are looked up. */
  readonly scopes: readonly ReadableScope[];
  /** Artifacts that the request may change. Without `put` or `delete`, the store is read-only. */
  readonly own: Pick<Store, 'get' | 'put' | 'delete'>;
  /** Scope of the artifacts that the request may change. */
  readonly ownScope: string;
  /** Whether other clients may find other artifacts under the same keys. */
  readonly isScoped: boolean;
  /** Scope of the artifact that `readable.get` returned last. */
  readonly foundScope: string;
  /** Whether an upload replaces an artifact. */
  readonly overwrite: boolean;
  /** Name of the client that is stored with its uploads. */
  readonly subject: string | undefined;
}

/** Creates the view of a request for which the access policy returned only a level. All such requests share it. */
export function createPlainView(store: Store, overwrite: boolean): View {
  return {
    name: `${DEFAULT_SCOPE},${DEFAULT_SCOPE}`,
    readable: store,
    scopes: [{ name: DEFAULT_SCOPE, artifacts: store }],
    own: store,
    ownScope: DEFAULT_SCOPE,
    isScoped: false,
    foundScope: DEFAULT_SCOPE,
    overwrite,
    subject: undefined,
  };
}

/**
 * View of a request with a grant. Reads look through the scopes of the grant in order; uploads and deletions apply to its own
 * scope. The scope of an artifact is a prefix of its key in the store, so the store needs to know nothing of scopes.
 */
export class ScopedView implements View {
  readonly own: Pick<Store, 'get' | 'put' | 'delete'>;
  readonly name: string;
  readonly ownScope: string;
  readonly isScoped: boolean;
  readonly overwrite: boolean;
  readonly subject: string | undefined;
  readonly readable = this;
  readonly #store: Store;
  readonly #openFiles: OpenFiles;
  readonly #scopes: readonly string[];
  #foundScope: string;

  /** @param overwrite whether uploads replace artifacts if the grant does not say */
  constructor(store: Store, openFiles: OpenFiles, grant: CheckedGrant, overwrite: boolean) {
    this.#store = store;
    this.#openFiles = openFiles;
    this.name = grant.view;
    this.#scopes = grant.scopes;
    this.#foundScope = grant.scope;
    this.own = withPrefix(store, scopePrefix(grant.scope));
    this.ownScope = grant.scope;
    this.isScoped = !grant.isUnscoped;
    this.overwrite = grant.overwrite ?? overwrite;
    this.subject = grant.subject;
  }

  get foundScope(): string {
    return this.#foundScope;
  }

  get scopes(): readonly ReadableScope[] {
    return this.#scopes.map((name) => ({
      name,
      artifacts: { get: (key, options) => this.#lookUp(name, key, options) },
    }));
  }

  /** Returns the artifact of the first scope that has one under `key`. */
  get(key: string, options: GetOptions): Artifact | undefined | Promise<Artifact | undefined> {
    return this.#getFrom(0, key, options);
  }

  #getFrom(first: number, key: string, options: GetOptions): Artifact | undefined | Promise<Artifact | undefined> {
    for (let index = first; index < this.#scopes.length; index++) {
      const result = this.#getIn(this.#scopes[index] ?? DEFAULT_SCOPE, index === this.#scopes.length - 1, key, options);
      if (isPromise(result)) return result.then((found) => found ?? this.#getFrom(index + 1, key, options));
      if (result !== undefined) return result;
    }
    return undefined;
  }

  #getIn(
    scope: string,
    isLast: boolean,
    key: string,
    options: GetOptions,
  ): Artifact | undefined | Promise<Artifact | undefined> {
    const found = this.#lookUp(scope, key, options);
    const check = (artifact: Artifact | undefined): Artifact | undefined | Promise<Artifact | undefined> => {
      if (artifact === undefined) return undefined;
      this.#foundScope = scope;
      // A store may return the path of a file without looking whether it exists. After the last scope, the download looks.
      return isLast || artifact.kind !== 'file' ? artifact : this.#ifExists(artifact);
    };
    return isPromise(found) ? found.then(check) : check(found);
  }

  #lookUp(scope: string, key: string, options: GetOptions): ReturnType<Store['get']> {
    const storeKey = scopePrefix(scope) + key;
    // A key that is too long with this scope can be valid in others, and no upload of this scope has it.
    return isKey(storeKey) ? this.#store.get(storeKey, options) : undefined;
  }

  #ifExists(artifact: FileArtifact): FileArtifact | undefined | Promise<FileArtifact | undefined> {
    const file = this.#openFiles.acquire(artifact);
    const check = (opened: OpenFile | undefined): FileArtifact | undefined => {
      opened?.release();
      return opened && artifact;
    };
    return isPromise(file) ? file.then(check) : check(file);
  }
}

/** Returns the part of a store whose keys have `prefix`. Callers omit the prefix. */
function withPrefix(store: Store, prefix: string): View['own'] {
  if (prefix === '') return store;
  const withScope = (key: string): string => {
    const storeKey = prefix + key;
    assertKey(storeKey);
    return storeKey;
  };
  const { put, delete: remove } = store;
  return {
    get: (key, options) => store.get(withScope(key), options),
    ...(put && { put: async (key, body, options) => put.call(store, withScope(key), body, options) }),
    ...(remove && { delete: async (key) => remove.call(store, withScope(key)) }),
  };
}
