import { Readable } from 'node:stream';
import test from 'ava';
import { scopePrefix } from '../../../src/keys/scope.js';
import { never } from '../fixture.js';
import { readBytes, startTiers } from './fixture.js';

const KEY = `${scopePrefix('pr/7')}nx/1`;

test('artifacts of a scope stay in the local store, and the upstream cache is not asked for them', async (t) => {
  const requests: string[] = [];
  const { store, local, remote } = await startTiers(t, (request, response) => {
    requests.push(`${request.method} ${request.url}`);
    request.resume();
    response.statusCode = request.method === 'PUT' ? 201 : 404;
    response.end();
  });
  t.is(await store.get(KEY, { signal: never() }), undefined);
  await store.put(KEY, Readable.from([Buffer.from('own')]));
  t.is((await readBytes(local, KEY))?.toString(), 'own');
  t.is((await readBytes(store, KEY))?.toString(), 'own');
  t.true(await store.delete?.(KEY));
  t.is(store.stats().unreplicated, 0);
  t.deepEqual(requests, []);
  await store.put('nx/1', Readable.from([Buffer.from('default')]));
  t.deepEqual(requests, ['PUT /nx/1']);
  t.is(await remote.get(KEY, { signal: never() }), undefined);
  await t.throwsAsync(remote.put?.(KEY, Readable.from(['x']), { signal: never() }) ?? Promise.resolve(), {
    code: 'ERR_HOTBLOB_UPSTREAM_DENIED',
  });
  t.is(requests.length, 1);
});
