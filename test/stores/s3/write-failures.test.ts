import { Readable } from 'node:stream';
import test from 'ava';
import { until } from '../../helpers/poll.js';
import { bodyOf, content, never, put, refusal } from '../fixture.js';
import { assertBytes, deferred, getArtifact, PART, read, setupFor } from './fixture.js';

const setup = setupFor(test);

const failure = new Error('the body has failed');
const FAILING_BODIES = [
  ['fails', (bytes: Buffer) => bodyOf([bytes], failure), 0, { is: failure }],
  ['is destroyed', (bytes: Buffer) => destroyedBody(bytes), 0, { code: 'ERR_STREAM_PREMATURE_CLOSE' }],
  ['is too short', (bytes: Buffer) => Readable.from([bytes]), 1, refusal('ERR_HOTBLOB_INCOMPLETE')],
  ['is too long', (bytes: Buffer) => Readable.from([bytes]), -1, refusal('ERR_HOTBLOB_INCOMPLETE')],
] as const;

for (const [name, createBody, extraBytes, error] of FAILING_BODIES) {
  test(`a body that ${name} leaves nothing`, async (t) => {
    const { store, proxy, keys } = await setup(t, { partBytes: PART });
    await put(store, 'old', 'old');
    for (const length of [0, 1000, PART, 2 * PART + 1000]) {
      if (length === 0 && extraBytes < 0) continue;
      for (const key of ['old', 'new/b']) {
        proxy.clear();
        const body = createBody(content(length));
        const size = extraBytes === 0 ? undefined : length + extraBytes;
        await t.throwsAsync(store.put(key, body, { signal: never(), size }), error);
        t.true(body.destroyed);
        // A multipart upload that was created is aborted, and its abort is the last request.
        const isCreated = proxy.operations.includes('POST uploads');
        t.is(isCreated, length > PART && (extraBytes !== -1 || proxy.operations.length > 1));
        t.is(proxy.operations.at(-1) === 'DELETE uploadId', isCreated, `${proxy.operations}`);
        t.false(proxy.operations.includes('PUT') || proxy.operations.includes('POST uploadId'));
        await until('no request is in flight', () => proxy.requests.every(({ isDone }) => isDone));
      }
    }
    t.deepEqual(await keys(), ['old']);
    assertBytes(t, await read(await getArtifact(store, 'old')), Buffer.from('old'));
  });
}

test('an abort ends an upload in every state', async (t) => {
  const { store, proxy, keys } = await setup(t, { partBytes: PART });
  const reason = new Error('the client has left');
  const cases = [
    // The body is stalled.
    ['small', [content(1000)], 'HEAD', undefined],
    ['large', [content(PART + 1000)], 'PUT part 1', undefined],
    // The service is stalled.
    ['lookup', [content(1000)], 'HEAD', { ignore: true }],
    ['sending', [content(3 * PART)], 'PUT part 2', { ignore: true }],
  ] as const;
  for (const [name, chunks, waitingFor, fault] of cases) {
    proxy.clear();
    proxy.fault = ({ operation }) => (operation === waitingFor ? fault : undefined);
    const controller = new AbortController();
    const body = bodyOf(chunks);
    const upload = store.put(name, body, { signal: controller.signal });
    await until(waitingFor, () =>
      proxy.requests.some(({ operation, isDone }) => operation === waitingFor && (fault || isDone)),
    );
    controller.abort(reason);
    t.is(await t.throwsAsync(upload), reason, name);
    t.true(body.destroyed);
    t.is(proxy.operations.includes('DELETE uploadId'), waitingFor.startsWith('PUT'), name);
    if (waitingFor.startsWith('PUT')) t.is(proxy.operations.at(-1), 'DELETE uploadId');
    t.false(proxy.operations.includes('POST uploadId') || proxy.operations.includes('PUT'));
  }
  t.deepEqual(await keys(), []);
  const body = bodyOf([content(10)]);
  proxy.clear();
  t.is(await t.throwsAsync(store.put('a', body, { signal: AbortSignal.abort(reason) })), reason);
  t.true(body.destroyed);
  t.deepEqual(proxy.operations, []);
});

test('deletes a multipart upload that is aborted while it is being created', async (t) => {
  const { store, proxy, keys } = await setup(t, { partBytes: PART });
  const { promise: created, resolve: create } = deferred();
  proxy.fault = ({ operation }) => (operation === 'POST uploads' ? { after: created } : undefined);
  const controller = new AbortController();
  const upload = store.put('a', bodyOf([content(2 * PART)]), { signal: controller.signal });
  await until('the create request has arrived', () => proxy.operations.includes('POST uploads'));
  controller.abort();
  create();
  await t.throwsAsync(upload, { any: true, name: 'AbortError' });
  t.is(proxy.operations.at(-1), 'DELETE uploadId');
  t.false(proxy.operations.some((operation) => operation.startsWith('PUT')));
  t.deepEqual(await keys(), []);
});

test('rejects only when the parts of a failed upload are deleted', async (t) => {
  const { store, proxy } = await setup(t, { partBytes: PART });
  const { promise: held, resolve: release } = deferred();
  proxy.fault = ({ operation }) => (operation === 'DELETE uploadId' ? { after: held } : undefined);
  let isDone = false;
  const upload = t
    .throwsAsync(store.put('a', bodyOf([content(2 * PART)], failure), { signal: never() }), { is: failure })
    .finally(() => {
      isDone = true;
    });
  await until('the delete request has arrived', () => proxy.operations.includes('DELETE uploadId'));
  t.false(isDone);
  release();
  // s3rver responds 405 to the deletion, but the upload rejects with the first error.
  await upload;
});

test('does not abort an upload whose last request has started', async (t) => {
  const { store, proxy, keys } = await setup(t, { partBytes: PART });
  for (const [key, length, last] of [
    ['small', 1000, 'PUT'],
    ['large', 2 * PART, 'POST uploadId'],
  ] as const) {
    const { promise: held, resolve: release } = deferred();
    proxy.fault = ({ operation }) => (operation === last ? { after: held } : undefined);
    const controller = new AbortController();
    const upload = put(store, key, content(length), { signal: controller.signal });
    await until('the last request has arrived', () => proxy.operations.includes(last));
    controller.abort();
    release();
    t.true((await upload).created);
  }
  t.deepEqual(await keys(), ['large', 'small']);
});

test('a part that cannot be sent ends the upload, even if the body is stalled', async (t) => {
  const { store, proxy, keys } = await setup(t, { partBytes: PART, maxAttempts: 2 });
  for (const [fault, code] of [
    [{ resetRequestAt: 100 }, 'ERR_HOTBLOB_UPSTREAM'],
    [{ status: 503, code: 'SlowDown' }, 'ERR_HOTBLOB_OVERLOADED'],
  ] as const) {
    proxy.clear();
    proxy.fault = ({ operation }) => (operation === 'PUT part 1' ? fault : undefined);
    const body = bodyOf([content(PART + 1000)]);
    await t.throwsAsync(store.put('a', body, { signal: never() }), refusal(code, /writing to/));
    t.true(body.destroyed);
    t.is(proxy.operations.filter((operation) => operation === 'PUT part 1').length, 2);
    t.is(proxy.operations.at(-1), 'DELETE uploadId');
  }
  t.deepEqual(await keys(), []);
});

test('rejects if a multipart upload cannot be created or completed', async (t) => {
  const { store, proxy, keys } = await setup(t, { partBytes: PART, maxAttempts: 1 });
  const upload = () => put(store, 'a', content(2 * PART));
  proxy.fault = ({ operation }) => (operation === 'POST uploads' ? { status: 500, code: 'InternalError' } : undefined);
  await t.throwsAsync(upload(), refusal('ERR_HOTBLOB_UPSTREAM', /500 InternalError/));
  t.false(proxy.operations.includes('DELETE uploadId'));
  for (const [status, code] of [
    [500, 'ERR_HOTBLOB_UPSTREAM'],
    // S3 may send an error in the body of a 200 response, which the SDK treats as a 503.
    [200, 'ERR_HOTBLOB_OVERLOADED'],
  ] as const) {
    proxy.clear();
    proxy.fault = ({ operation }) => (operation === 'POST uploadId' ? { status, code: 'InternalError' } : undefined);
    await t.throwsAsync(upload(), refusal(code, /InternalError/));
    t.is(proxy.operations.at(-1), 'DELETE uploadId');
  }
  proxy.fault = ({ operation }) => (operation === 'HEAD' ? { status: 403, code: 'AccessDenied' } : undefined);
  proxy.clear();
  await t.throwsAsync(upload(), refusal('ERR_HOTBLOB_UPSTREAM_DENIED', /403/));
  t.false(proxy.operations.includes('POST uploadId'));
  t.deepEqual(await keys(), []);
});

/** Returns a body that emits its bytes and is then destroyed without an error. */
function destroyedBody(bytes: Buffer): Readable {
  let isEmitted = false;
  return new Readable({
    read() {
      if (isEmitted) this.destroy();
      else this.push(bytes);
      isEmitted = true;
    },
  });
}
