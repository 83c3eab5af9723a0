import { join } from 'node:path';
import test from 'ava';
import type { Store } from '../../src/contract/store.js';
import { splitScope } from '../../src/keys/scope.js';
import { memoryStore } from '../../src/stores/memory.js';
import { request } from '../helpers/client.js';
import { startServer } from '../helpers/servers.js';
import { temporaryDirectory } from '../stores/fixture.js';
import type { Client } from './scopes-model/model.js';
import { HOSTILE_PATHS, MODULE, projectOf, ROUTES } from './scopes-model/routes.js';
import { createScopedHandler, tokenOf } from './scopes-model/site.js';

/** Returns a memory store, and the scopes in which it was asked to read, store and delete. */
function recordingStore() {
  const inner = memoryStore();
  const scopes = { get: new Set<string>(), put: new Set<string>(), delete: new Set<string>() };
  const record = (name: keyof typeof scopes, key: string): void => void scopes[name].add(splitScope(key).scope);
  const store: Store = {
    get(key) {
      record('get', key);
      return inner.get(key);
    },
    put(key, body, options) {
      record('put', key);
      return inner.put(key, body, options);
    },
    delete(key) {
      record('delete', key);
      return inner.delete(key);
    },
  };
  return { store, scopes };
}

type Probe = readonly [method: string, path: string, body?: Buffer | undefined, headers?: Record<string, string>];

const CONDITIONS: readonly Record<string, string>[] = [
  {},
  { 'if-match': '"x"' },
  { 'if-none-match': '*' },
  { expect: '100-continue' },
];

/** Requests that could tell whether a key has an artifact. */
function* probes(): Generator<Probe> {
  for (const route of [...ROUTES, MODULE]) {
    const path = route.path('r1s0');
    const body = route.body?.('r1s0', 'body') ?? Buffer.from('body');
    for (const method of ['GET', 'HEAD']) {
      yield [method, path];
      yield [method, path, undefined, { 'if-none-match': '"x"', range: 'bytes=0-1' }];
    }
    const upload = route.upload?.('r1s0', body);
    for (const condition of CONDITIONS) {
      if (upload !== undefined) yield [upload.method, upload.path, upload.body, condition];
      if (route.isDeletable) yield ['DELETE', path, undefined, condition];
    }
  }
  yield ['POST', '/v8/artifacts?slug=team', Buffer.from('{"hashes":["r1s0","r1s1"]}')];
  yield ['PROPFIND', '/sccache/.scopes/main/r1s0'];
  yield ['PROPFIND', '/sccache/.scopes/main/', undefined, { depth: '1' }];
  yield ['MKCOL', '/sccache/.scopes/main/'];
  yield ['POST', `/api/cache/module/start?${projectOf('r1s0')}&hash=a&name=b`];
  yield ['DELETE', `/api/cache/clean?${projectOf('r1s0')}`];
  for (const path of HOSTILE_PATHS) yield ['GET', path];
}

for (const overwrite of [true, false]) {
  test(`the store is never asked about a scope that the client does not read, with overwrite ${overwrite}`, async (t) => {
    const { store, scopes } = recordingStore();
    const handler = createScopedHandler(store, join(await temporaryDirectory(t), 'parts'), overwrite);
    const server = await startServer(t, 'h2c', handler);
    const probe = async (client: Client): Promise<void> => {
      const authorization = `Bearer ${tokenOf(client)}`;
      for (const [method, path, body, headers] of probes()) {
        await request(server, { method, path, body, headers: { authorization, ...headers } });
      }
    };
    await probe({ level: 'write', scope: 'pr/7' });
    const own = new Set(['pr/7']);
    t.deepEqual(scopes, { get: own, put: own, delete: overwrite ? own : new Set() });
    await probe({ level: 'write', scope: 'pr/7', reads: ['main'] });
    t.deepEqual(scopes, { get: new Set(['pr/7', 'main']), put: own, delete: overwrite ? own : new Set() });
    scopes.get.clear();
    await probe({ level: 'read', scope: 'pr/8', reads: ['main'] });
    t.deepEqual(scopes, { get: new Set(['main', 'pr/8']), put: own, delete: overwrite ? own : new Set() });
  });
}
