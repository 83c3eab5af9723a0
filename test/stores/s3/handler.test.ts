import test from 'ava';
import { createHandler } from '../../../src/handler/handler.js';
import { type Request, request } from '../../helpers/client.js';
import { startPaused } from '../../helpers/paused.js';
import { until } from '../../helpers/poll.js';
import { startServer } from '../../helpers/servers.js';
import { content } from '../fixture.js';
import { assertBytes, KIB, MIB, md5Tag, PART, serviceFor } from './fixture.js';

const site = serviceFor(test);

for (const kind of ['http', 'h2c'] as const) {
  test(`what clients see over ${kind}, and what it costs`, async (t) => {
    const { store, wire } = await site(t);
    const server = await startServer(t, kind, createHandler({ store }));
    const bytes = content(300_000);
    const small = content(20 * KIB);
    const ask = async (status: number, cost: readonly string[], options: Request) => {
      wire.clear();
      const response = await request(server, options);
      const what = `${options.method ?? 'GET'} ${options.path} ${JSON.stringify(options.headers ?? {})}`;
      t.is(response.status, status, what);
      t.deepEqual(wire.asked.sort(), [...cost], what);
      return response;
    };
    await ask(404, ['GET'], { path: '/a' });
    // The last GET is the handler's, which looks at what it has open for the key.
    const put = await ask(200, ['GET', 'HEAD', 'PUT'], { method: 'PUT', path: '/a', body: bytes });
    t.is(put.headers.etag, md5Tag(bytes));
    await ask(200, ['GET', 'HEAD', 'PUT'], { method: 'PUT', path: '/small', body: small });

    assertBytes(t, (await ask(200, ['GET'], { path: '/small' })).body, small);
    const whole = await ask(200, ['GET', 'GET'], { path: '/a' });
    assertBytes(t, whole.body, bytes);
    t.is(whole.headers.etag, md5Tag(bytes));
    t.is(whole.headers['content-length'], '300000');
    t.is(whole.headers['content-type'], 'application/octet-stream');
    t.truthy(whole.headers['last-modified']);

    const head = await ask(200, ['GET'], { method: 'HEAD', path: '/a' });
    t.is(head.headers['content-length'], '300000');
    await ask(304, ['GET'], { path: '/a', headers: { 'if-none-match': md5Tag(bytes) } });
    await ask(416, ['GET'], { path: '/a', headers: { range: 'bytes=300000-' } });
    const ranged = await ask(206, ['GET', 'GET'], { path: '/a', headers: { range: 'bytes=-1000' } });
    t.is(ranged.headers['content-range'], 'bytes 299000-299999/300000');
    assertBytes(t, ranged.body, bytes.subarray(299_000));
    const early = await ask(206, ['GET'], { path: '/a', headers: { range: 'bytes=10-19' } });
    assertBytes(t, early.body, bytes.subarray(10, 20));

    await ask(412, ['GET'], { method: 'PUT', path: '/a', body: small, headers: { 'if-none-match': '*' } });
    await ask(204, ['DELETE', 'GET', 'HEAD'], { method: 'DELETE', path: '/a' });
    await ask(404, ['GET', 'HEAD'], { method: 'DELETE', path: '/a' });
    await ask(404, ['GET'], { path: '/a' });
  });
}

test('what S3 refuses or cannot do has a status, and no client takes half an artifact for the whole', async (t) => {
  const { store, wire } = await site(t, { maxAttempts: 2 });
  const server = await startServer(t, 'http', createHandler({ store }));
  await request(server, { method: 'PUT', path: '/a', body: content(4 * MIB) });
  const statusWith = async (path: string, method?: string): Promise<number> =>
    (await request(server, { path, method, ...(method === 'PUT' ? { body: content(10) } : {}) })).status;

  wire.fault = () => ({ answer: 503, code: 'SlowDown' });
  t.deepEqual(
    [await statusWith('/a'), await statusWith('/a', 'PUT'), await statusWith('/a', 'DELETE')],
    [503, 503, 503],
  );
  // The rest cannot be had: said before the headers.
  wire.fault = ({ headers }) => (headers['if-match'] ? { answer: 503, code: 'SlowDown' } : undefined);
  t.is(await statusWith('/a'), 503);
  wire.fault = ({ headers }) => (headers['if-match'] ? { answer: 412, code: 'PreconditionFailed' } : undefined);
  t.is(await statusWith('/a'), 503);
  wire.fault = () => ({ answer: 403, code: 'AccessDenied' });
  t.is(await statusWith('/a'), 502);
  // After the headers, and whatever is tried.
  let cuts = 0;
  wire.fault = ({ headers }) => (headers['if-match'] ? { cutAnswerAt: cuts++ === 0 ? 1_000_000 : 0 } : undefined);
  await t.throwsAsync(request(server, { path: '/a' }), { message: /aborted|socket hang up|ECONNRESET/ });
  t.is(cuts, 2);
});

test('a client that leaves takes its requests to S3 with it', async (t) => {
  const { store, wire, keys } = await site(t, { partBytes: PART });
  const server = await startServer(t, 'http', createHandler({ store }));
  await request(server, { method: 'PUT', path: '/a', body: content(16 * MIB) });

  wire.clear();
  const download = await startPaused(t, server, '/a');
  await download.leaveAfter(200_000);
  await until('S3 hears of it', () => wire.seen.at(-1)?.isCutByClient === true);
  t.is(wire.seen.length, 2);

  wire.clear();
  const leaving = new AbortController();
  const upload = request(server, {
    method: 'PUT',
    path: '/b',
    body: endless(content(PART + 1000)),
    signal: leaving.signal,
  });
  await until('a part is there', () => wire.seen.some(({ what, isOver }) => what === 'PUT part 1' && isOver));
  leaving.abort();
  await t.throwsAsync(upload);
  await until('the parts are deleted', () =>
    wire.seen.some(({ what, isOver }) => what === 'DELETE uploadId' && isOver),
  );
  t.deepEqual(await keys(), ['a']);
});

async function* endless(chunk: Buffer): AsyncGenerator<Buffer> {
  yield chunk;
  await new Promise(() => {});
}
