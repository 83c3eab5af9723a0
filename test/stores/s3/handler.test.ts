import test from 'ava';
import { createHandler } from '../../../src/handler/handler.js';
import { type Request, request } from '../../helpers/client.js';
import { startPaused } from '../../helpers/paused.js';
import { until } from '../../helpers/poll.js';
import { startServer } from '../../helpers/servers.js';
import { content } from '../fixture.js';
import { assertBytes, KIB, MIB, md5Tag, PART, setupFor } from './fixture.js';

const setup = setupFor(test);

for (const kind of ['http', 'h2c'] as const) {
  test(`answers clients over ${kind} with the expected number of requests to S3`, async (t) => {
    const { store, proxy } = await setup(t);
    const server = await startServer(t, kind, createHandler({ store }));
    const bytes = content(300_000);
    const small = content(20 * KIB);
    const expectResponse = async (status: number, operations: readonly string[], options: Request) => {
      proxy.clear();
      const response = await request(server, options);
      const name = `${options.method ?? 'GET'} ${options.path} ${JSON.stringify(options.headers ?? {})}`;
      t.is(response.status, status, name);
      t.deepEqual(proxy.operations.sort(), [...operations], name);
      return response;
    };
    await expectResponse(404, ['GET'], { path: '/a' });
    const put = await expectResponse(200, ['HEAD', 'PUT'], { method: 'PUT', path: '/a', body: bytes });
    t.is(put.headers.etag, md5Tag(bytes));
    await expectResponse(200, ['HEAD', 'PUT'], { method: 'PUT', path: '/small', body: small });

    assertBytes(t, (await expectResponse(200, ['GET'], { path: '/small' })).body, small);
    const whole = await expectResponse(200, ['GET', 'GET'], { path: '/a' });
    assertBytes(t, whole.body, bytes);
    t.is(whole.headers.etag, md5Tag(bytes));
    t.is(whole.headers['content-length'], '300000');
    t.is(whole.headers['content-type'], 'application/octet-stream');
    t.truthy(whole.headers['last-modified']);

    const head = await expectResponse(200, ['GET'], { method: 'HEAD', path: '/a' });
    t.is(head.headers['content-length'], '300000');
    await expectResponse(304, ['GET'], { path: '/a', headers: { 'if-none-match': md5Tag(bytes) } });
    await expectResponse(416, ['GET'], { path: '/a', headers: { range: 'bytes=300000-' } });
    const ranged = await expectResponse(206, ['GET', 'GET'], { path: '/a', headers: { range: 'bytes=-1000' } });
    t.is(ranged.headers['content-range'], 'bytes 299000-299999/300000');
    assertBytes(t, ranged.body, bytes.subarray(299_000));
    const early = await expectResponse(206, ['GET'], { path: '/a', headers: { range: 'bytes=10-19' } });
    assertBytes(t, early.body, bytes.subarray(10, 20));

    await expectResponse(412, ['GET'], { method: 'PUT', path: '/a', body: small, headers: { 'if-none-match': '*' } });
    await expectResponse(204, ['DELETE', 'HEAD'], { method: 'DELETE', path: '/a' });
    await expectResponse(404, ['HEAD'], { method: 'DELETE', path: '/a' });
    await expectResponse(404, ['GET'], { path: '/a' });
  });
}

test('maps failures of S3 to a status, and destroys a response that S3 cannot complete', async (t) => {
  const { store, proxy } = await setup(t, { maxAttempts: 2 });
  const server = await startServer(t, 'http', createHandler({ store }));
  await request(server, { method: 'PUT', path: '/a', body: content(4 * MIB) });
  const statusWith = async (path: string, method?: string): Promise<number> =>
    (await request(server, { path, method, ...(method === 'PUT' ? { body: content(10) } : {}) })).status;

  proxy.fault = () => ({ status: 503, code: 'SlowDown' });
  t.deepEqual(
    [await statusWith('/a'), await statusWith('/a', 'PUT'), await statusWith('/a', 'DELETE')],
    [503, 503, 503],
  );
  // The request for the rest fails before the response headers are sent.
  proxy.fault = ({ headers }) => (headers['if-match'] ? { status: 503, code: 'SlowDown' } : undefined);
  t.is(await statusWith('/a'), 503);
  proxy.fault = ({ headers }) => (headers['if-match'] ? { status: 412, code: 'PreconditionFailed' } : undefined);
  t.is(await statusWith('/a'), 503);
  proxy.fault = () => ({ status: 403, code: 'AccessDenied' });
  t.is(await statusWith('/a'), 502);
  // The request for the rest fails after the response headers, in all attempts.
  let resets = 0;
  proxy.fault = ({ headers }) =>
    headers['if-match'] ? { resetResponseAt: resets++ === 0 ? 1_000_000 : 0 } : undefined;
  await t.throwsAsync(request(server, { path: '/a' }), { message: /aborted|socket hang up|ECONNRESET/ });
  t.is(resets, 2);
});

test('aborts the requests to S3 when the client leaves', async (t) => {
  const { store, proxy, keys } = await setup(t, { partBytes: PART });
  const server = await startServer(t, 'http', createHandler({ store }));
  await request(server, { method: 'PUT', path: '/a', body: content(16 * MIB) });

  proxy.clear();
  const download = await startPaused(t, server, '/a');
  await download.leaveAfter(200_000);
  await until('the request to S3 is aborted', () => proxy.requests.at(-1)?.isAbortedByClient === true);
  t.is(proxy.requests.length, 2);

  proxy.clear();
  const client = new AbortController();
  const upload = request(server, {
    method: 'PUT',
    path: '/b',
    body: neverEnding(content(PART + 1000)),
    signal: client.signal,
  });
  await until('a part is stored', () =>
    proxy.requests.some(({ operation, isDone }) => operation === 'PUT part 1' && isDone),
  );
  client.abort();
  await t.throwsAsync(upload);
  await until('the parts are deleted', () =>
    proxy.requests.some(({ operation, isDone }) => operation === 'DELETE uploadId' && isDone),
  );
  t.deepEqual(await keys(), ['a']);
});

async function* neverEnding(chunk: Buffer): AsyncGenerator<Buffer> {
  yield chunk;
  await new Promise(() => {});
}
