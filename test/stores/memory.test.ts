import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import test from 'ava';
import { memoryStore } from '../../src/stores/memory.js';
import { bodyOf, content, never, put, refusal } from './fixture.js';

const KIB = 1024;
/** Bytes that an artifact with a key of one character counts with, besides its body. */
const OVERHEAD = KIB + 2;

test('returns what was uploaded, with a hash of the bytes as entity tag', async (t) => {
  const store = memoryStore();
  const before = Date.now();
  const bytes = content(200_000);
  const result = await store.put('a/b', bodyOfAll(bytes), { signal: never() });
  const artifact = store.get('a/b');
  t.deepEqual(Buffer.from(artifact?.bytes ?? []), bytes);
  t.is(artifact?.kind, 'bytes');
  const tag = createHash('sha256').update(bytes).digest('base64url').slice(0, 22);
  t.deepEqual(result, { created: true, etag: `"${tag}"` });
  t.is(artifact?.etag, `"${tag}"`);
  const modified = artifact?.lastModified?.getTime() ?? 0;
  t.true(modified >= before && modified <= Date.now());
});

test('stores an empty body and a body of strings', async (t) => {
  const store = memoryStore();
  await put(store, 'empty', '');
  t.is(store.get('empty')?.bytes.byteLength, 0);
  const body = bodyOf([]);
  body.setEncoding('utf8');
  body.push('é');
  body.push(null);
  await store.put('text', body, { signal: never(), size: 2 });
  t.is(Buffer.from(store.get('text')?.bytes ?? []).toString(), 'é');
});

test('an upload replaces the artifact, delete() removes it', async (t) => {
  const store = memoryStore();
  t.is(store.get('a'), undefined);
  t.true((await put(store, 'a', 'one')).created);
  t.false((await put(store, 'a', 'two')).created);
  t.is(Buffer.from(store.get('a')?.bytes ?? []).toString(), 'two');
  t.true(await store.delete('a'));
  t.false(await store.delete('a'));
  t.is(store.get('a'), undefined);
});

test('evicts the least recently used artifact first', async (t) => {
  const store = memoryStore({ maxBytes: 3 * (100 + OVERHEAD) });
  for (const key of ['a', 'b', 'c']) await put(store, key, content(100));
  store.get('a');
  await put(store, 'd', content(100));
  t.deepEqual(storedKeys(store, 'abcd'), 'acd');
  await put(store, 'e', content(300));
  t.deepEqual(storedKeys(store, 'abcde'), 'de');
});

test('the limit holds for empty artifacts too', async (t) => {
  const store = memoryStore({ maxBytes: 10 * OVERHEAD });
  for (const key of 'abcdefghijklmno') await put(store, key, '');
  t.is(storedKeys(store, 'abcdefghijklmno'), 'fghijklmno');
});

test('overwriting and deleting free their bytes', async (t) => {
  const store = memoryStore({ maxBytes: 3 * (100 + OVERHEAD) });
  await put(store, 'a', content(100));
  for (let round = 0; round < 10; round++) {
    await put(store, 'b', content(100));
    await put(store, 'b', content(50));
    await store.delete('b');
  }
  t.is(storedKeys(store, 'ab'), 'a');
});

test('failed uploads free their bytes', async (t) => {
  const store = memoryStore({ maxBytes: 2 * (100 + OVERHEAD) });
  await put(store, 'a', content(100));
  for (let round = 0; round < 10; round++) {
    await t.throwsAsync(put(store, 'b', content(100), { size: 101 }));
  }
  await put(store, 'b', content(100));
  t.is(storedKeys(store, 'ab'), 'ab');
});

test('rejects an upload that is larger than the store and evicts nothing', async (t) => {
  const store = memoryStore({ maxBytes: 100 + OVERHEAD });
  await put(store, 'a', content(100));
  const silent = bodyOf([]);
  await t.throwsAsync(
    store.put('b', silent, { signal: never(), size: 101 }),
    refusal('ERR_HOTBLOB_TOO_LARGE', /100 bytes/),
  );
  t.true(silent.destroyed);
  t.is(storedKeys(store, 'ab'), 'a');
  const chunks = [content(60), content(60)];
  await t.throwsAsync(store.put('b', bodyOf(chunks), { signal: never() }), refusal('ERR_HOTBLOB_TOO_LARGE'));
  t.is(store.get('b'), undefined);
});

test('a store with a limit of 0 bytes rejects every upload', async (t) => {
  const store = memoryStore({ maxBytes: 0 });
  await t.throwsAsync(put(store, 'a', ''), refusal('ERR_HOTBLOB_TOO_LARGE'));
  t.is(store.get('a'), undefined);
});

test('uploads in flight count against the limit', async (t) => {
  const store = memoryStore({ maxBytes: 100 + OVERHEAD });
  const controller = new AbortController();
  const body = bodyOf([content(80)]);
  const first = store.put('a', body, { signal: controller.signal });
  await new Promise((resolve) => setImmediate(resolve));
  await t.throwsAsync(put(store, 'b', content(80)), refusal('ERR_HOTBLOB_OVERLOADED'));
  controller.abort();
  await t.throwsAsync(first, { any: true, name: 'AbortError' });
  await put(store, 'b', content(80));
  t.is(storedKeys(store, 'ab'), 'b');
});

for (const size of [3, 5]) {
  test(`rejects a body of 4 bytes with an announced length of ${size}`, async (t) => {
    const store = memoryStore();
    await t.throwsAsync(
      put(store, 'a', 'four', { size }),
      refusal('ERR_HOTBLOB_INCOMPLETE', new RegExp(`expected ${size} bytes as announced`)),
    );
    t.is(store.get('a'), undefined);
  });
}

test('rejects with the error of the body and keeps the previous artifact', async (t) => {
  const store = memoryStore();
  await put(store, 'a', 'old');
  const failure = new Error('client disconnected');
  t.is(await t.throwsAsync(store.put('a', bodyOf([content(10)], failure), { signal: never() })), failure);
  t.is(Buffer.from(store.get('a')?.bytes ?? []).toString(), 'old');
});

test('an abort rejects an idle upload, and one that has not started', async (t) => {
  const store = memoryStore();
  const controller = new AbortController();
  const body = bodyOf([content(10)]);
  const upload = store.put('a', body, { signal: controller.signal });
  const reason = new Error('client disconnected');
  setImmediate(() => controller.abort(reason));
  t.is(await t.throwsAsync(upload), reason);
  t.true(body.destroyed);
  t.is(await t.throwsAsync(put(store, 'a', 'x', { signal: controller.signal })), reason);
  t.is(store.get('a'), undefined);
});

test('rejects a body of objects', async (t) => {
  const store = memoryStore();
  await t.throwsAsync(store.put('a', Readable.from([{}]), { signal: never() }), { instanceOf: TypeError });
});

test('rejects an invalid key', async (t) => {
  await t.throwsAsync(put(memoryStore(), '../a', 'x'), refusal('ERR_HOTBLOB_INVALID_KEY'));
});

test('a closed store rejects every call and uploads in flight', async (t) => {
  const store = memoryStore();
  await put(store, 'a', 'x');
  const body = bodyOf([content(10)]);
  const upload = store.put('b', body, { signal: never() });
  await store.close();
  body.push(null);
  const closed = refusal('ERR_HOTBLOB_CLOSED', /^the memory store is closed$/);
  await t.throwsAsync(upload, closed);
  const late = bodyOf([content(10)]);
  await t.throwsAsync(store.put('a', late), closed);
  t.true(late.destroyed);
  t.throws(() => store.get('a'), closed);
  await t.throwsAsync(store.delete('a'), closed);
  await t.throwsAsync(async () => {
    for await (const _ of store.list());
  }, closed);
  t.like(store.stats(), { artifacts: 0, bytes: 0 });
  await t.notThrowsAsync(store.close());
});

test('closing the store ends a list in flight', async (t) => {
  const store = memoryStore();
  for (const key of ['a', 'b']) await put(store, key, 'x');
  await t.throwsAsync(async () => {
    for await (const _ of store.list()) await store.close();
  }, refusal('ERR_HOTBLOB_CLOSED'));
});

test('get() and put() work without options', async (t) => {
  const store = memoryStore();
  t.true((await store.put('a', Readable.from([content(10)]))).created);
  t.false((await store.put('a', Readable.from([content(10)]), { size: 10 })).created);
  t.deepEqual(store.get('a')?.bytes, content(10));
  t.deepEqual(store.get('a', {})?.bytes, content(10));
});

test('validates options and does not change them', (t) => {
  const unknown = refusal('ERR_HOTBLOB_INVALID_OPTION', /^unknown option 'maxByte'; expected one of maxBytes, retain$/);
  // @ts-expect-error an unknown option is tested
  t.throws(() => memoryStore({ maxByte: 1 }), unknown);
  t.throws(
    // @ts-expect-error a caller without types
    () => memoryStore({ maxBytes: '1' }),
    refusal('ERR_HOTBLOB_INVALID_OPTION', /number of bytes.* received '1'/),
  );
  for (const maxBytes of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.throws(() => memoryStore({ maxBytes }), refusal('ERR_HOTBLOB_INVALID_OPTION'));
  }
  t.notThrows(() => memoryStore(Object.freeze({ maxBytes: undefined })));
});

function storedKeys(store: ReturnType<typeof memoryStore>, keys: string): string {
  return [...keys].filter((key) => store.get(key) !== undefined).join('');
}

function bodyOfAll(bytes: Buffer) {
  const body = bodyOf([]);
  for (let start = 0; start < bytes.byteLength; start += 70_000) body.push(bytes.subarray(start, start + 70_000));
  body.push(null);
  return body;
}
