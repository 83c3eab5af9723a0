import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import test from 'ava';
import { memoryStore } from '../../src/stores/memory.js';
import { bodyOf, content, never, put, refusal } from './fixture.js';

const KIB = 1024;
/** What an artifact under a key of one character costs on top of its bytes. */
const OVERHEAD = KIB + 2;

test('what was put can be read back, with an entity tag of its bytes', async (t) => {
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

test('an empty artifact, and one of strings', async (t) => {
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

test('overwriting replaces, deleting removes', async (t) => {
  const store = memoryStore();
  t.is(store.get('a'), undefined);
  t.true((await put(store, 'a', 'one')).created);
  t.false((await put(store, 'a', 'two')).created);
  t.is(Buffer.from(store.get('a')?.bytes ?? []).toString(), 'two');
  t.true(await store.delete('a'));
  t.false(await store.delete('a'));
  t.is(store.get('a'), undefined);
});

test('what was used longest ago goes first', async (t) => {
  const store = memoryStore({ maxBytes: 3 * (100 + OVERHEAD) });
  for (const key of ['a', 'b', 'c']) await put(store, key, content(100));
  store.get('a');
  await put(store, 'd', content(100));
  t.deepEqual(held(store, 'abcd'), 'acd');
  await put(store, 'e', content(300));
  t.deepEqual(held(store, 'abcde'), 'de');
});

test('the limit holds for empty artifacts too', async (t) => {
  const store = memoryStore({ maxBytes: 10 * OVERHEAD });
  for (const key of 'abcdefghijklmno') await put(store, key, '');
  t.is(held(store, 'abcdefghijklmno'), 'fghijklmno');
});

test('overwriting and deleting give the room back', async (t) => {
  const store = memoryStore({ maxBytes: 3 * (100 + OVERHEAD) });
  await put(store, 'a', content(100));
  for (let round = 0; round < 10; round++) {
    await put(store, 'b', content(100));
    await put(store, 'b', content(50));
    await store.delete('b');
  }
  t.is(held(store, 'ab'), 'a');
});

test('failed uploads give the room back', async (t) => {
  const store = memoryStore({ maxBytes: 2 * (100 + OVERHEAD) });
  await put(store, 'a', content(100));
  for (let round = 0; round < 10; round++) {
    await t.throwsAsync(put(store, 'b', content(100), { size: 101 }));
  }
  await put(store, 'b', content(100));
  t.is(held(store, 'ab'), 'ab');
});

test('an upload that cannot fit is refused before anything else is touched', async (t) => {
  const store = memoryStore({ maxBytes: 100 + OVERHEAD });
  await put(store, 'a', content(100));
  const silent = bodyOf([]);
  await t.throwsAsync(
    store.put('b', silent, { signal: never(), size: 101 }),
    refusal('ERR_HOTBLOB_TOO_LARGE', /100 bytes/),
  );
  t.true(silent.destroyed);
  t.is(held(store, 'ab'), 'a');
  const chunks = [content(60), content(60)];
  await t.throwsAsync(store.put('b', bodyOf(chunks), { signal: never() }), refusal('ERR_HOTBLOB_TOO_LARGE'));
  t.is(store.get('b'), undefined);
});

test('a store of 0 bytes stores nothing', async (t) => {
  const store = memoryStore({ maxBytes: 0 });
  await t.throwsAsync(put(store, 'a', ''), refusal('ERR_HOTBLOB_TOO_LARGE'));
  t.is(store.get('a'), undefined);
});

test('uploads in progress count', async (t) => {
  const store = memoryStore({ maxBytes: 100 + OVERHEAD });
  const controller = new AbortController();
  const body = bodyOf([content(80)]);
  const first = store.put('a', body, { signal: controller.signal });
  await new Promise((resolve) => setImmediate(resolve));
  await t.throwsAsync(put(store, 'b', content(80)), refusal('ERR_HOTBLOB_OVERLOADED'));
  controller.abort();
  await t.throwsAsync(first, { any: true, name: 'AbortError' });
  await put(store, 'b', content(80));
  t.is(held(store, 'ab'), 'b');
});

for (const size of [3, 5]) {
  test(`a body of 4 bytes that announced ${size} is not stored`, async (t) => {
    const store = memoryStore();
    await t.throwsAsync(
      put(store, 'a', 'four', { size }),
      refusal('ERR_HOTBLOB_INCOMPLETE', new RegExp(`announced ${size}`)),
    );
    t.is(store.get('a'), undefined);
  });
}

test('a body that fails leaves what was there, and its error', async (t) => {
  const store = memoryStore();
  await put(store, 'a', 'old');
  const failure = new Error('gone');
  t.is(await t.throwsAsync(store.put('a', bodyOf([content(10)], failure), { signal: never() })), failure);
  t.is(Buffer.from(store.get('a')?.bytes ?? []).toString(), 'old');
});

test('aborting ends an upload that is silent, and one that has not begun', async (t) => {
  const store = memoryStore();
  const controller = new AbortController();
  const body = bodyOf([content(10)]);
  const upload = store.put('a', body, { signal: controller.signal });
  const reason = new Error('the client has gone');
  setImmediate(() => controller.abort(reason));
  t.is(await t.throwsAsync(upload), reason);
  t.true(body.destroyed);
  t.is(await t.throwsAsync(put(store, 'a', 'x', { signal: controller.signal })), reason);
  t.is(store.get('a'), undefined);
});

test('objects are no bytes', async (t) => {
  const store = memoryStore();
  await t.throwsAsync(store.put('a', Readable.from([{}]), { signal: never() }), { instanceOf: TypeError });
});

test('keys are checked', async (t) => {
  await t.throwsAsync(put(memoryStore(), '../a', 'x'), refusal('ERR_HOTBLOB_INVALID_KEY'));
});

test('a closed store is empty and takes nothing', async (t) => {
  const store = memoryStore();
  await put(store, 'a', 'x');
  const body = bodyOf([content(10)]);
  const upload = store.put('b', body, { signal: never() });
  await store.close();
  body.push(null);
  await t.throwsAsync(upload, refusal('ERR_HOTBLOB_OVERLOADED', /closed/));
  await t.throwsAsync(put(store, 'a', 'x'), refusal('ERR_HOTBLOB_OVERLOADED', /closed/));
  t.is(held(store, 'ab'), '');
});

test('options are checked and left alone', (t) => {
  // @ts-expect-error an unknown option is what is tested
  t.throws(() => memoryStore({ maxByte: 1 }), refusal('ERR_HOTBLOB_INVALID_OPTION', /maxByte: expected .*maxBytes/));
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

function held(store: ReturnType<typeof memoryStore>, keys: string): string {
  return [...keys].filter((key) => store.get(key) !== undefined).join('');
}

function bodyOfAll(bytes: Buffer) {
  const body = bodyOf([]);
  for (let start = 0; start < bytes.byteLength; start += 70_000) body.push(bytes.subarray(start, start + 70_000));
  body.push(null);
  return body;
}
