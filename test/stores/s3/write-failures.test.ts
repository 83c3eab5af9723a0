import { Readable } from 'node:stream';
import test from 'ava';
import { until } from '../../helpers/poll.js';
import { bodyOf, content, never, put, refusal } from '../fixture.js';
import { assertBytes, deferred, find, PART, read, serviceFor } from './fixture.js';

const site = serviceFor(test);

const failure = new Error('the body has failed');
const failing = [
  ['fails', (bytes: Buffer) => bodyOf([bytes], failure), 0, { is: failure }],
  ['is destroyed', (bytes: Buffer) => destroyed(bytes), 0, { code: 'ERR_STREAM_PREMATURE_CLOSE' }],
  ['is too short', (bytes: Buffer) => Readable.from([bytes]), 1, refusal('ERR_HOTBLOB_INCOMPLETE')],
  ['is too long', (bytes: Buffer) => Readable.from([bytes]), -1, refusal('ERR_HOTBLOB_INCOMPLETE')],
] as const;

for (const [what, bodyFor, more, error] of failing) {
  test(`a body that ${what} leaves nothing`, async (t) => {
    const { store, wire, keys } = await site(t, { partBytes: PART });
    await put(store, 'old', 'old');
    for (const length of [0, 1000, PART, 2 * PART + 1000]) {
      if (length === 0 && more < 0) continue;
      for (const key of ['old', 'new/b']) {
        wire.clear();
        const body = bodyFor(content(length));
        const size = more === 0 ? undefined : length + more;
        await t.throwsAsync(store.put(key, body, { signal: never(), size }), error);
        t.true(body.destroyed);
        // An upload that was begun is aborted, with nothing on its way any more and nothing after it.
        const isBegun = wire.asked.includes('POST uploads');
        t.is(isBegun, length > PART && (more !== -1 || wire.asked.length > 1));
        t.is(wire.asked.at(-1) === 'DELETE uploadId', isBegun, `${wire.asked}`);
        t.false(wire.asked.includes('PUT') || wire.asked.includes('POST uploadId'));
        await until('nothing is on its way', () => wire.seen.every(({ isOver }) => isOver));
      }
    }
    t.deepEqual(await keys(), ['old']);
    assertBytes(t, await read(await find(store, 'old')), Buffer.from('old'));
  });
}

test('an abort ends an upload, whatever it is doing', async (t) => {
  const here = await site(t, { partBytes: PART });
  const { store, wire, keys } = here;
  const reason = new Error('the client has gone');
  const cases = [
    // The body is silent.
    ['small', [content(1000)], 'HEAD', undefined],
    ['large', [content(PART + 1000)], 'PUT part 1', undefined],
    // So is the service.
    ['asking', [content(1000)], 'HEAD', { ignore: true }],
    ['sending', [content(3 * PART)], 'PUT part 2', { ignore: true }],
  ] as const;
  for (const [name, chunks, waitingFor, fault] of cases) {
    wire.clear();
    wire.fault = ({ what }) => (what === waitingFor ? fault : undefined);
    const controller = new AbortController();
    const body = bodyOf(chunks);
    const upload = store.put(name, body, { signal: controller.signal });
    await until(waitingFor, () => wire.seen.some(({ what, isOver }) => what === waitingFor && (fault || isOver)));
    controller.abort(reason);
    t.is(await t.throwsAsync(upload), reason, name);
    t.true(body.destroyed);
    t.is(wire.asked.includes('DELETE uploadId'), waitingFor.startsWith('PUT'), name);
    if (waitingFor.startsWith('PUT')) t.is(wire.asked.at(-1), 'DELETE uploadId');
    t.false(wire.asked.includes('POST uploadId') || wire.asked.includes('PUT'));
  }
  t.deepEqual(await keys(), []);
  const body = bodyOf([content(10)]);
  wire.clear();
  t.is(await t.throwsAsync(store.put('a', body, { signal: AbortSignal.abort(reason) })), reason);
  t.true(body.destroyed);
  t.deepEqual(wire.asked, []);
});

test('an upload that is aborted while it is begun is deleted too', async (t) => {
  const { store, wire, keys } = await site(t, { partBytes: PART });
  const { promise: begun, resolve: begin } = deferred();
  wire.fault = ({ what }) => (what === 'POST uploads' ? { after: begun } : undefined);
  const controller = new AbortController();
  const upload = store.put('a', bodyOf([content(2 * PART)]), { signal: controller.signal });
  await until('it is being begun', () => wire.asked.includes('POST uploads'));
  controller.abort();
  begin();
  await t.throwsAsync(upload, { any: true, name: 'AbortError' });
  t.is(wire.asked.at(-1), 'DELETE uploadId');
  t.false(wire.asked.some((what) => what.startsWith('PUT')));
  t.deepEqual(await keys(), []);
});

test('it has failed when its parts are deleted, and not before', async (t) => {
  const { store, wire } = await site(t, { partBytes: PART });
  const { promise: held, resolve: release } = deferred();
  wire.fault = ({ what }) => (what === 'DELETE uploadId' ? { after: held } : undefined);
  let isOver = false;
  const upload = t
    .throwsAsync(store.put('a', bodyOf([content(2 * PART)], failure), { signal: never() }), { is: failure })
    .finally(() => {
      isOver = true;
    });
  await until('the deletion is there', () => wire.asked.includes('DELETE uploadId'));
  t.false(isOver);
  release();
  // s3rver says 405 to it: what is told is what was wrong with the upload.
  await upload;
});

test('an upload is not given up once its last request has begun', async (t) => {
  const { store, wire, keys } = await site(t, { partBytes: PART });
  for (const [key, length, last] of [
    ['small', 1000, 'PUT'],
    ['large', 2 * PART, 'POST uploadId'],
  ] as const) {
    const { promise: held, resolve: release } = deferred();
    wire.fault = ({ what }) => (what === last ? { after: held } : undefined);
    const controller = new AbortController();
    const upload = put(store, key, content(length), { signal: controller.signal });
    await until('the last request is there', () => wire.asked.includes(last));
    controller.abort();
    release();
    t.true((await upload).created);
  }
  t.deepEqual(await keys(), ['large', 'small']);
});

test('a part that cannot be sent ends the upload, also when the body is silent', async (t) => {
  const { store, wire, keys } = await site(t, { partBytes: PART, maxAttempts: 2 });
  for (const [fault, code] of [
    [{ cutRequestAt: 100 }, 'ERR_HOTBLOB_UPSTREAM'],
    [{ answer: 503, code: 'SlowDown' }, 'ERR_HOTBLOB_OVERLOADED'],
  ] as const) {
    wire.clear();
    wire.fault = ({ what }) => (what === 'PUT part 1' ? fault : undefined);
    const body = bodyOf([content(PART + 1000)]);
    await t.throwsAsync(store.put('a', body, { signal: never() }), refusal(code, /writing to/));
    t.true(body.destroyed);
    t.is(wire.asked.filter((what) => what === 'PUT part 1').length, 2);
    t.is(wire.asked.at(-1), 'DELETE uploadId');
  }
  t.deepEqual(await keys(), []);
});

test('so does what cannot be begun, or completed', async (t) => {
  const { store, wire, keys } = await site(t, { partBytes: PART, maxAttempts: 1 });
  const upload = () => put(store, 'a', content(2 * PART));
  wire.fault = ({ what }) => (what === 'POST uploads' ? { answer: 500, code: 'InternalError' } : undefined);
  await t.throwsAsync(upload(), refusal('ERR_HOTBLOB_UPSTREAM', /500 InternalError/));
  t.false(wire.asked.includes('DELETE uploadId'));
  for (const [answer, code] of [
    [500, 'ERR_HOTBLOB_UPSTREAM'],
    // S3 says 200 and then changes its mind: the SDK makes a 503 of it.
    [200, 'ERR_HOTBLOB_OVERLOADED'],
  ] as const) {
    wire.clear();
    wire.fault = ({ what }) => (what === 'POST uploadId' ? { answer, code: 'InternalError' } : undefined);
    await t.throwsAsync(upload(), refusal(code, /InternalError/));
    t.is(wire.asked.at(-1), 'DELETE uploadId');
  }
  wire.fault = ({ what }) => (what === 'HEAD' ? { answer: 403, code: 'AccessDenied' } : undefined);
  wire.clear();
  await t.throwsAsync(upload(), refusal('ERR_HOTBLOB_UPSTREAM_DENIED', /403/));
  t.false(wire.asked.includes('POST uploadId'));
  t.deepEqual(await keys(), []);
});

/** A body that gives its bytes and is then destroyed without an error. */
function destroyed(bytes: Buffer): Readable {
  let isGiven = false;
  return new Readable({
    read() {
      if (isGiven) this.destroy();
      else this.push(bytes);
      isGiven = true;
    },
  });
}
