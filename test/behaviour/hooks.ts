import { gunzipSync } from 'node:zlib';
import test from 'ava';
import compression from 'compression';
import cookieSession from 'cookie-session';
import { memoryStore } from '../../src/stores/memory.js';
import { DOWNLOAD } from '../helpers/artifact-headers.js';
import { can, KINDS, type Kind, type Middleware } from '../helpers/servers.js';
import { content } from '../stores/fixture.js';
import { assertBody, endToEnd, open, storeOf } from './site.js';

const TEXT = Buffer.from('a line of a log that compresses well\n'.repeat(20_000));
const store = storeOf({
  key: { kind: 'bytes', bytes: content(300_000), etag: '"tag"' },
  text: { kind: 'bytes', bytes: TEXT, contentType: 'text/plain' },
  cached: { kind: 'bytes', bytes: TEXT, contentType: 'text/plain', cacheControl: 'max-age=5' },
});

/** Declares tests of third-party middleware that changes or observes the response. */
export function hooks(kind: Kind): void {
  if (['stream', 'front'].includes(KINDS[kind].host)) return; // these hosts have no middleware

  if (can(kind, 'keep-host-headers')) hostHeaders(kind);

  test(`${kind}: the compression middleware does not compress artifacts, and errors stay readable`, async (t) => {
    const { ask } = await open(t, kind, { store }, { before: compression({ threshold: 0 }) });
    const headers = { 'accept-encoding': 'gzip' };
    for (const key of ['/text', '/cached']) {
      const { status, headers: received, body } = await ask('GET', key, { headers });
      t.is(status, 200);
      t.is(received['content-encoding'], undefined);
      t.is(received['content-length'], String(TEXT.byteLength));
      assertBody(t, body, TEXT);
    }
    assertBody(
      t,
      (await ask('GET', '/text', { headers: { ...headers, range: 'bytes=5-9' } })).body,
      TEXT.subarray(5, 10),
    );
    t.is((await ask('HEAD', '/text', { headers })).headers['content-length'], String(TEXT.byteLength));
    const missing = await ask('GET', '/missing', { headers });
    t.is(missing.status, 404);
    const json = missing.headers['content-encoding'] === 'gzip' ? gunzipSync(missing.body) : missing.body;
    t.deepEqual(JSON.parse(json.toString()), { message: 'Not found.' });

    const writable = await open(t, kind, { store: memoryStore() }, { before: compression({ threshold: 0 }) });
    t.is((await writable.ask('PUT', '/key', { body: TEXT, headers })).status, 200);
    assertBody(t, (await writable.ask('GET', '/key', { headers })).body, TEXT);
    t.is((await writable.ask('DELETE', '/key', { headers })).status, 204);
  });

  test(`${kind}: a cookie that middleware sets when the headers are written is sent`, async (t) => {
    const session = cookieSession({ name: 'session', keys: ['signing'] });
    const before: Middleware = (request, response, next) =>
      session(request, response, () => {
        Object.assign(request, { session: { user: 'builder' } });
        next();
      });
    const { ask } = await open(t, kind, { store }, { before });
    for (const [path, status] of [
      ['/key', 200],
      ['/missing', 404],
    ] as const) {
      const response = await ask('GET', path);
      t.is(response.status, status);
      t.regex(String(response.headers['set-cookie']), /^session=\w+={0,2};.*session\.sig=/);
    }
    assertBody(t, (await ask('GET', '/key')).body, content(300_000));
  });

  test(`${kind}: middleware that wraps response.write sees every byte of the body`, async (t) => {
    const recorded: Buffer[] = [];
    const before: Middleware = (_request, response, next) => {
      const write = response.write.bind(response) as (chunk: Buffer) => boolean;
      response.write = (chunk: unknown) => {
        if (!(chunk instanceof Uint8Array)) throw new TypeError('expected bytes');
        recorded.push(Buffer.from(chunk));
        return write(Buffer.from(chunk));
      };
      next();
    };
    const { ask } = await open(t, kind, { store }, { before });
    assertBody(t, (await ask('GET', '/key')).body, content(300_000));
    assertBody(t, Buffer.concat(recorded), content(300_000));
  });
}

/** Declares tests of headers that the host sets before the handler responds. */
function hostHeaders(kind: Kind): void {
  test(`${kind}: headers set by the host are kept, except those that frame the body`, async (t) => {
    const before: Middleware = (_request, response, next) => {
      response.setHeader('x-request-id', 'r1');
      response.setHeader('set-cookie', ['a=1', 'b=2']);
      response.setHeader('cache-control', 'private, max-age=1');
      response.setHeader('content-type', 'application/x-host');
      response.setHeader('content-length', '5');
      response.setHeader('content-range', 'bytes 0-1/2');
      next();
    };
    const { ask } = await open(t, kind, { store }, { before });
    const { status, headers, body } = await ask('GET', '/key');
    t.is(status, 200);
    assertBody(t, body, content(300_000));
    t.deepEqual(endToEnd(headers), {
      'x-request-id': 'r1',
      'set-cookie': ['a=1', 'b=2'],
      'cache-control': 'private, max-age=1, no-transform',
      'content-type': 'application/x-host',
      'content-length': '300000',
      'accept-ranges': 'bytes',
      ...DOWNLOAD,
      etag: '"tag"',
    });
    const range = await ask('GET', '/key', { headers: { range: 'bytes=1-3' } });
    t.like(range.headers, { 'content-range': 'bytes 1-3/300000', 'content-length': '3', 'x-request-id': 'r1' });
    const notModified = await ask('GET', '/key', { headers: { 'if-none-match': '"tag"' } });
    t.is(notModified.status, 304);
    t.is(notModified.headers['x-request-id'], 'r1');
    t.is(notModified.headers['content-range'], undefined);
    const missing = await ask('GET', '/missing');
    t.is(missing.status, 404);
    t.like(missing.headers, {
      'x-request-id': 'r1',
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
      'content-length': String(missing.body.byteLength),
    });
  });
}
