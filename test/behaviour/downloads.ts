import { utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import type { Artifact } from '../../src/contract/artifact.js';
import { DOWNLOAD } from '../helpers/artifact-headers.js';
import type { Kind } from '../helpers/servers.js';
import { content, temporaryDirectory } from '../stores/fixture.js';
import { assertBody, assertError, endToEnd, open, productTestIn, type Scope, storeOf } from './site.js';

const BYTES = content(100);
const LAST_MODIFIED = 'Mon, 02 Jan 2023 10:00:00 GMT';
const BEFORE = 'Mon, 02 Jan 2023 09:59:59 GMT';
const AFTER = 'Mon, 02 Jan 2023 10:00:01 GMT';
const described = { etag: '"tag"', lastModified: new Date(LAST_MODIFIED) };
const store = storeOf({
  key: { kind: 'bytes', bytes: BYTES, ...described },
  weak: { kind: 'bytes', bytes: BYTES, etag: 'W/"tag"' },
  empty: { kind: 'bytes', bytes: new Uint8Array(0), ...described },
});

type Headers = Record<string, string>;

const CONDITIONS: [Headers, 200 | 304 | 412][] = [
  [{ 'if-match': '"tag"' }, 200],
  [{ 'if-match': '*' }, 200],
  [{ 'if-match': '"other", "tag"' }, 200],
  [{ 'if-match': '"other"' }, 412],
  [{ 'if-match': 'W/"tag"' }, 412],
  [{ 'if-none-match': '"tag"' }, 304],
  [{ 'if-none-match': 'W/"tag"' }, 304],
  [{ 'if-none-match': '"a", W/"b" , "tag"' }, 304],
  [{ 'if-none-match': '*' }, 304],
  [{ 'if-none-match': '"other"' }, 200],
  [{ 'if-none-match': '"ta", "g"' }, 200],
  [{ 'if-modified-since': LAST_MODIFIED }, 304],
  [{ 'if-modified-since': AFTER }, 304],
  [{ 'if-modified-since': BEFORE }, 200],
  [{ 'if-modified-since': 'yesterday' }, 200],
  [{ 'if-unmodified-since': LAST_MODIFIED }, 200],
  [{ 'if-unmodified-since': AFTER }, 200],
  [{ 'if-unmodified-since': BEFORE }, 412],
  [{ 'if-unmodified-since': 'yesterday' }, 200],
  // An entity tag takes precedence over a date (RFC 9110, 13.2.2).
  [{ 'if-none-match': '"other"', 'if-modified-since': AFTER }, 200],
  [{ 'if-match': '"tag"', 'if-unmodified-since': BEFORE }, 200],
  [{ 'if-match': '"other"', 'if-none-match': '"tag"' }, 412],
  [{ 'if-match': '"tag"', 'if-none-match': '"tag"' }, 304],
];

/** Request headers, and the expected start and end (exclusive) of the body. Without them, all 100 bytes are expected. */
const RANGES: [Headers, [number, number]?][] = [
  [{ range: 'bytes=0-0' }, [0, 1]],
  [{ range: 'bytes=0-99' }, [0, 100]],
  [{ range: 'bytes=10-19' }, [10, 20]],
  [{ range: 'bytes=90-1000' }, [90, 100]],
  [{ range: 'bytes=99-' }, [99, 100]],
  [{ range: 'bytes=-1' }, [99, 100]],
  [{ range: 'bytes=-1000' }, [0, 100]],
  [{ range: 'Bytes=1-2' }, [1, 3]],
  [{ range: 'bytes=0-1, 5-6' }],
  [{ range: 'bytes=20-10' }],
  [{ range: 'bytes=-' }],
  [{ range: 'bytes=a-b' }],
  [{ range: 'lines=1-2' }],
  [{ range: 'bytes=1-2', 'if-range': '"tag"' }, [1, 3]],
  // Dates have a resolution of one second, so If-Range with a date is ignored for an artifact that has an entity tag.
  [{ range: 'bytes=1-2', 'if-range': LAST_MODIFIED }],
  [{ range: 'bytes=1-2', 'if-range': '"other"' }],
  [{ range: 'bytes=1-2', 'if-range': 'W/"tag"' }],
  [{ range: 'bytes=1-2', 'if-range': AFTER }],
  [{ range: 'bytes=1-2', 'if-range': BEFORE }],
  // The range is unsatisfiable, but If-Range does not match, so the range is ignored.
  [{ range: 'bytes=200-', 'if-range': '"other"' }],
  [{ range: 'bytes=1-2', 'if-none-match': '"other"' }, [1, 3]],
];

export function downloads(kind: Kind, scope: Scope): void {
  const productTest = productTestIn(scope);
  test(`${kind}: a download has the bytes of the artifact and the default headers`, async (t) => {
    const { ask } = await open(t, kind, { store });
    const { status, headers, body } = await ask('GET', '/key');
    t.is(status, 200);
    assertBody(t, body, BYTES);
    t.deepEqual(endToEnd(headers), {
      'content-type': 'application/octet-stream',
      'content-length': '100',
      'accept-ranges': 'bytes',
      'cache-control': 'no-cache, no-transform',
      ...DOWNLOAD,
      etag: '"tag"',
      'last-modified': LAST_MODIFIED,
    });
  });

  productTest(`${kind}: if the file is missing, the store is asked once more for its current path`, async (t) => {
    const directory = await temporaryDirectory(t);
    await writeFile(`${directory}/new`, BYTES);
    const asked: string[] = [];
    const { ask } = await open(t, kind, {
      store: {
        get: (key) => {
          asked.push(key);
          const isMoved = key === 'moved' && asked.length > 1;
          return { kind: 'file', path: `${directory}/${isMoved ? 'new' : 'old'}` };
        },
      },
    });
    const moved = await ask('GET', '/moved');
    t.is(moved.status, 200);
    assertBody(t, moved.body, BYTES);
    assertError(t, await ask('GET', '/gone'), 404);
    // Exactly one retry.
    t.deepEqual(asked, ['moved', 'moved', 'gone', 'gone']);
  });

  test(`${kind}: HEAD has the headers of GET and no body, for every kind of artifact`, async (t) => {
    const path = `${await temporaryDirectory(t)}/file`;
    await writeFile(path, BYTES);
    const stream = (size: number | undefined): Artifact => ({
      kind: 'stream',
      size,
      open: () => Readable.from([BYTES]),
    });
    const { ask } = await open(t, kind, {
      store: storeOf({
        bytes: { kind: 'bytes', bytes: BYTES, ...described },
        file: { kind: 'file', path },
        region: { kind: 'file', path, offset: 1, length: 10 },
        stream: stream(100),
        unknown: stream(undefined),
        empty: { kind: 'bytes', bytes: new Uint8Array(0) },
      }),
    });
    for (const key of ['bytes', 'file', 'region', 'stream', 'unknown', 'empty', 'missing']) {
      const get = await ask('GET', `/${key}`);
      const head = await ask('HEAD', `/${key}`);
      t.is(head.status, get.status, key);
      t.is(head.body.byteLength, 0, key);
      const { 'transfer-encoding': _chunked, ...headers } = endToEnd(get.headers);
      const { 'transfer-encoding': _unsaid, ...headersOfHead } = endToEnd(head.headers);
      t.deepEqual(headersOfHead, headers, key);
    }
  });

  productTest(`${kind}: headers of the artifact are sent, except those that frame or identify the body`, async (t) => {
    const own = {
      contentType: 'application/gzip',
      contentEncoding: 'gzip',
      cacheControl: 'public, max-age=60',
      headers: { 'X-Artifact-Tag': 'signed', 'content-length': '1', ETag: '"lie"', 'Transfer-Encoding': 'chunked' },
    };
    const { ask } = await open(t, kind, {
      store: storeOf({ key: { kind: 'bytes', bytes: BYTES, etag: '"tag"', ...own } }),
    });
    const { headers, body } = await ask('GET', '/key');
    assertBody(t, body, BYTES);
    t.deepEqual(endToEnd(headers), {
      'content-type': 'application/gzip',
      'content-encoding': 'gzip',
      'content-length': '100',
      'accept-ranges': 'bytes',
      'cache-control': 'public, max-age=60, no-transform',
      ...DOWNLOAD,
      etag: '"tag"',
      'x-artifact-tag': 'signed',
    });
  });

  productTest(`${kind}: the option cacheControl applies to artifacts without a policy of their own`, async (t) => {
    const own = { ...described, kind: 'bytes', bytes: BYTES, cacheControl: 'private' } as const;
    const options = { store: storeOf({ plain: { ...described, kind: 'bytes', bytes: BYTES }, own }) };
    const cached = await open(t, kind, { ...options, cacheControl: 'public, max-age=60' });
    for (const headers of [{}, { 'if-none-match': '"tag"' }]) {
      const policyOf = async (path: string) => (await cached.ask('GET', path, { headers })).headers['cache-control'];
      t.is(await policyOf('/plain'), 'public, max-age=60, no-transform');
      t.is(await policyOf('/own'), 'private, no-transform');
    }
    const { ask } = await open(t, kind, options);
    t.is((await ask('GET', '/plain')).headers['cache-control'], 'no-cache, no-transform');
  });

  productTest(`${kind}: Last-Modified is not in the future`, async (t) => {
    const path = join(await temporaryDirectory(t), 'file');
    await writeFile(path, BYTES);
    const tomorrow = new Date(Date.now() + 24 * 3600 * 1000);
    await utimes(path, tomorrow, tomorrow);
    const { ask } = await open(t, kind, {
      store: storeOf({
        file: { kind: 'file', path },
        bytes: { kind: 'bytes', bytes: BYTES, lastModified: new Date(Date.UTC(10_000, 0)) },
      }),
    });
    for (const key of ['/file', '/bytes']) {
      const { status, headers } = await ask('GET', key);
      t.is(status, 200);
      t.true(Date.parse(String(headers['last-modified'])) <= Date.now(), key);
    }
  });

  productTest(`${kind}: preconditions decide between 200, 304 and 412`, async (t) => {
    const { ask } = await open(t, kind, { store });
    for (const [headers, status] of CONDITIONS) {
      for (const method of ['GET', 'HEAD']) {
        const response = await ask(method, '/key', { headers });
        const title = `${method} ${JSON.stringify(headers)}`;
        t.is(response.status, status, title);
        if (status === 304) {
          t.is(response.body.byteLength, 0, title);
          t.like(response.headers, {
            etag: '"tag"',
            'last-modified': LAST_MODIFIED,
            'cache-control': 'no-cache, no-transform',
          });
          t.is(response.headers['content-type'], undefined);
          t.is(response.headers['content-length'], undefined);
        } else if (method === 'GET' && status === 412) assertError(t, response, 412);
        else if (method === 'GET') assertBody(t, response.body, BYTES);
      }
      // Without an artifact, the precondition is not evaluated.
      t.is((await ask('GET', '/missing', { headers })).status, 404);
    }
    t.is((await ask('GET', '/weak', { headers: { 'if-match': 'W/"tag"' } })).status, 412);
    t.is((await ask('GET', '/weak', { headers: { 'if-none-match': '"tag"' } })).status, 304);
    const range = { range: 'bytes=1-2', 'if-range': 'W/"tag"' };
    t.is((await ask('GET', '/weak', { headers: range })).status, 200);
  });

  productTest(`${kind}: a satisfiable range of GET is answered with 206, and other ranges are ignored`, async (t) => {
    const { ask } = await open(t, kind, { store });
    for (const [headers, range] of RANGES) {
      const title = JSON.stringify(headers);
      const response = await ask('GET', '/key', { headers });
      t.is(response.status, range ? 206 : 200, title);
      const [start, end] = range ?? [0, 100];
      assertBody(t, response.body, BYTES.subarray(start, end));
      t.is(response.headers['content-length'], String(end - start), title);
      t.is(response.headers['content-range'], range && `bytes ${start}-${end - 1}/100`, title);
      t.like(response.headers, { etag: '"tag"', 'accept-ranges': 'bytes' });

      const head = await ask('HEAD', '/key', { headers });
      t.is(head.status, 200, `HEAD ${title}`);
      t.is(head.headers['content-length'], '100');
      t.is(head.headers['content-range'], undefined);
    }
    const condition = { range: 'bytes=1-2', 'if-none-match': '"tag"' };
    t.is((await ask('GET', '/key', { headers: condition })).status, 304);
  });

  productTest(`${kind}: an unsatisfiable range is answered with 416 and the size of the artifact`, async (t) => {
    const { ask } = await open(t, kind, { store });
    for (const range of ['bytes=100-', 'bytes=100-200', 'bytes=-0']) {
      const response = await ask('GET', '/key', { headers: { range } });
      assertError(t, response, 416);
      t.is(response.headers['content-range'], 'bytes */100');
      t.is((await ask('HEAD', '/key', { headers: { range } })).status, 200);
    }
    for (const range of ['bytes=0-', 'bytes=0-1048575', 'bytes=-5']) {
      t.is((await ask('GET', '/empty', { headers: { range } })).status, 200, range);
    }
  });

  productTest(`${kind}: Accept headers, percent-encoding and the query do not change the response`, async (t) => {
    const { ask } = await open(t, kind, { store });
    const plain = await ask('GET', '/key');
    const headers = { 'accept-encoding': 'gzip, br', accept: 'text/html', te: 'trailers' };
    const other = await ask('GET', '/%6Bey?teamId=a&slug=/b', { headers });
    t.deepEqual(endToEnd(other.headers), endToEnd(plain.headers));
    assertBody(t, other.body, BYTES);
  });
}
