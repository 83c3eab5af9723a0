import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Version } from './conditions.js';
import { isAborted, statesAfter } from './interleaving.js';
import { assertResponse, type KnownVersion, type State, stateAfter, statusOf, uploadStatus } from './model.js';
import { batch, KEYS, type Key, type Operation, operation } from './operations.js';
import type { FuzzSite } from './site.js';

/** Current and previous versions under the keys of one run. */
export interface Model {
  versions: Map<Key, Version>;
  readonly earlier: Map<Key, Version>;
}

/** Server, and the prefix of the keys of one run. */
export interface Real {
  readonly site: FuzzSite;
  readonly prefix: string;
}

type Command = fc.AsyncCommand<Model, Real>;

export const commands = fc.commands<Model, Real, boolean>(
  [
    operation.map((each) => new Single(each)),
    operation.map((each) => new Single(each)),
    operation.map((each) => new Single(each)),
    batch.map((each) => new Concurrent(each)),
    fc.constant(null).map(() => new Reopen()),
  ],
  { maxCommands: 8 },
);

class Single implements Command {
  readonly #operation: Operation;

  constructor(operation: Operation) {
    this.#operation = operation;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, { site, prefix }: Real): Promise<void> {
    const requested = this.#operation;
    const current = model.versions.get(requested.key);
    const earlier = model.earlier.get(requested.key);
    const response = await site.perform(prefix, requested, current, earlier);
    if (isAborted(requested)) return;
    const decided = statusOf(requested, model.versions, earlier);
    const isAdmittedUpload = requested.do === 'PUT' && decided === 200;
    const status = isAdmittedUpload ? uploadStatus(requested, model.versions, site.subject) : decided;
    if (response === undefined || status === undefined)
      throw new Error('expected a response: only aborted uploads have none');
    assertResponse(requested, model.versions, response, status);
    await updateModel(model, { site, prefix }, stateAfter(requested, model.versions, status), [requested.key]);
    // The entity tag of the upload's response is that of downloads.
    const { etag } = response.headers;
    if (requested.do === 'PUT' && etag !== undefined && status === 200) {
      assert.equal(model.versions.get(requested.key)?.etag, etag);
    }
  }

  toString(): string {
    return JSON.stringify(this.#operation);
  }
}

class Concurrent implements Command {
  readonly #operations: readonly Operation[];

  constructor(operations: readonly Operation[]) {
    this.#operations = operations;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, { site, prefix }: Real): Promise<void> {
    const completed = await Promise.all(
      this.#operations.map(async (operation) => ({ operation, outcome: await site.perform(prefix, operation) })),
    );
    // The entity tags of concurrent uploads are not known.
    const before: State = new Map(
      [...model.versions].map(([key, { bytes, contentType }]) => [key, { bytes, contentType }]),
    );
    const states = statesAfter(completed, before, site.subject);
    const responses = completed.map(({ operation, outcome }) => `${operation.do} ${operation.key}: ${outcome?.status}`);
    assert.ok(states.length > 0, `no order explains the responses: ${responses.join(', ')}`);
    const keys = [...new Set(this.#operations.map(({ key }) => key))];
    await updateModel(model, { site, prefix }, await findState(states, { site, prefix }, keys), keys);
  }

  toString(): string {
    return `concurrent: ${this.#operations.map((operation) => JSON.stringify(operation)).join(', ')}`;
  }
}

class Reopen implements Command {
  check(): boolean {
    return true;
  }

  async run(model: Model, { site, prefix }: Real): Promise<void> {
    await site.reopen();
    await updateModel(model, { site, prefix }, site.subject.isPersistent ? model.versions : new Map(), KEYS);
  }

  toString(): string {
    return 'reopen';
  }
}

/** Downloads `keys` to find out which of the states is the actual one. */
async function findState(states: readonly State[], { site, prefix }: Real, keys: readonly Key[]): Promise<State> {
  let left = states;
  for (const key of keys) {
    const response = await site.perform(prefix, { do: 'GET', key, conditions: {} });
    left = left.filter((state) => {
      const version = state.get(key);
      if (version === undefined || response?.status === 404) return version === undefined && response?.status === 404;
      return response?.body.equals(version.bytes) && response.headers['content-type'] === version.contentType;
    });
    assert.ok(left.length > 0, `${key}: no possible state explains status ${response?.status}`);
  }
  const [state] = left;
  assert.ok(state);
  return state;
}

/** Sets the state of the model, and reads the current validators of `keys` from the server. */
async function updateModel(model: Model, { site, prefix }: Real, state: State, keys: readonly Key[]): Promise<void> {
  const versions = new Map<Key, Version>();
  for (const [key, version] of state) {
    const before = model.versions.get(key);
    if (before !== undefined && !keys.includes(key)) versions.set(key, before);
    else versions.set(key, await withValidators(version, { site, prefix }, key));
    const now = versions.get(key);
    if (before !== undefined && before.etag !== now?.etag) model.earlier.set(key, before);
  }
  model.versions = versions;
}

async function withValidators(version: KnownVersion, { site, prefix }: Real, key: Key): Promise<Version> {
  const { bytes, contentType } = version;
  const operation = { do: 'HEAD', key, conditions: {} } as const;
  const response = await site.perform(prefix, operation);
  assert.ok(response);
  assertResponse(operation, new Map([[key, version]]), response, 200);
  const { etag = '', 'last-modified': lastModified = '' } = response.headers;
  assert.match(etag, /^"[^"]+"$/, 'a strong entity tag');
  assert.equal(new Date(lastModified).toUTCString(), lastModified);
  return { bytes, contentType, etag, lastModified };
}
