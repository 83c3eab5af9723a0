import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Version } from './conditions.js';
import { isCutOff, statesAfter } from './interleaving.js';
import { assertResponse, type KnownVersion, type State, stateAfter, statusOf, uploadStatus } from './model.js';
import { batch, KEYS, type Key, type Operation, operation } from './operations.js';
import type { FuzzSite } from './site.js';

/** What is under the keys of one run, and what was there before. */
export interface Model {
  versions: Map<Key, Version>;
  readonly earlier: Map<Key, Version>;
}

/** The site, and what the keys of one run begin with. */
export interface Real {
  readonly site: FuzzSite;
  readonly prefix: string;
}

type Command = fc.AsyncCommand<Model, Real>;

export const commands = fc.commands<Model, Real, boolean>(
  [
    operation.map((each) => new One(each)),
    operation.map((each) => new One(each)),
    operation.map((each) => new One(each)),
    batch.map((each) => new AtOnce(each)),
    fc.constant(null).map(() => new Reopen()),
  ],
  { maxCommands: 8 },
);

class One implements Command {
  readonly #operation: Operation;

  constructor(operation: Operation) {
    this.#operation = operation;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, { site, prefix }: Real): Promise<void> {
    const asked = this.#operation;
    const current = model.versions.get(asked.key);
    const earlier = model.earlier.get(asked.key);
    const response = await site.perform(prefix, asked, current, earlier);
    if (isCutOff(asked)) return;
    const decided = statusOf(asked, model.versions, earlier);
    const isAdmittedUpload = asked.do === 'PUT' && decided === 200;
    const status = isAdmittedUpload ? uploadStatus(asked, model.versions, site.subject) : decided;
    if (response === undefined || status === undefined) throw new Error('only what is cut off has no answer');
    assertResponse(asked, model.versions, response, status);
    await become(model, { site, prefix }, stateAfter(asked, model.versions, status), [asked.key]);
    // What an upload has said is what downloads say.
    const { etag } = response.headers;
    if (asked.do === 'PUT' && etag !== undefined && status === 200) {
      assert.equal(model.versions.get(asked.key)?.etag, etag);
    }
  }

  toString(): string {
    return JSON.stringify(this.#operation);
  }
}

class AtOnce implements Command {
  readonly #operations: readonly Operation[];

  constructor(operations: readonly Operation[]) {
    this.#operations = operations;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, { site, prefix }: Real): Promise<void> {
    const answered = await Promise.all(
      this.#operations.map(async (operation) => ({ operation, outcome: await site.perform(prefix, operation) })),
    );
    // Of what is written now the tags are not known.
    const before: State = new Map(
      [...model.versions].map(([key, { bytes, contentType }]) => [key, { bytes, contentType }]),
    );
    const states = statesAfter(answered, before, site.subject);
    const told = answered.map(({ operation, outcome }) => `${operation.do} ${operation.key}: ${outcome?.status}`);
    assert.ok(states.length > 0, `no order of these explains the answers: ${told.join(', ')}`);
    const keys = [...new Set(this.#operations.map(({ key }) => key))];
    await become(model, { site, prefix }, await find(states, { site, prefix }, keys), keys);
  }

  toString(): string {
    return `at once: ${this.#operations.map((operation) => JSON.stringify(operation)).join(', ')}`;
  }
}

class Reopen implements Command {
  check(): boolean {
    return true;
  }

  async run(model: Model, { site, prefix }: Real): Promise<void> {
    await site.reopen();
    await become(model, { site, prefix }, site.subject.isLasting ? model.versions : new Map(), KEYS);
  }

  toString(): string {
    return 'reopen';
  }
}

/** The one state of several that is there: as whole downloads of `keys` tell. */
async function find(states: readonly State[], { site, prefix }: Real, keys: readonly Key[]): Promise<State> {
  let left = states;
  for (const key of keys) {
    const response = await site.perform(prefix, { do: 'GET', key, conditions: {} });
    left = left.filter((state) => {
      const version = state.get(key);
      if (version === undefined || response?.status === 404) return version === undefined && response?.status === 404;
      return response?.body.equals(version.bytes) && response.headers['content-type'] === version.contentType;
    });
    assert.ok(left.length > 0, `${key} is nothing that may have been left there: ${response?.status}`);
  }
  const [state] = left;
  assert.ok(state);
  return state;
}

/** Makes `state` the model's, and takes note of how the store describes what is under `keys` now. */
async function become(model: Model, { site, prefix }: Real, state: State, keys: readonly Key[]): Promise<void> {
  const versions = new Map<Key, Version>();
  for (const [key, version] of state) {
    const before = model.versions.get(key);
    if (before !== undefined && !keys.includes(key)) versions.set(key, before);
    else versions.set(key, await described(version, { site, prefix }, key));
    const now = versions.get(key);
    if (before !== undefined && before.etag !== now?.etag) model.earlier.set(key, before);
  }
  model.versions = versions;
}

async function described(version: KnownVersion, { site, prefix }: Real, key: Key): Promise<Version> {
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
