import { writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { staticTokens } from '../../src/access/static-tokens.js';
import { gradle, sccache } from '../../src/protocols/index.js';
import { memoryStore } from '../../src/stores/memory.js';
import { sessionOf } from '../helpers/client.js';
import { RawConnection } from '../helpers/raw.js';
import { can, KINDS, type Kind, type Middleware, type RunningServer } from '../helpers/servers.js';
import { snippetsOf, startProgram } from '../helpers/snippets.js';
import { content, temporaryDirectory } from '../stores/fixture.js';
import { open, storeOf } from './site.js';

const BYTES = content(500_000);
const KINDS_OF_HTTP1 = (Object.keys(KINDS) as Kind[]).filter((kind) => KINDS[kind].version === 1);

/** Parses the first response in `text`. Throws if there is none. */
function parse(text: string): { status: number; head: string; body: string; rest: string } {
  const end = text.indexOf('\r\n\r\n');
  const head = text.slice(0, end + 2).toLowerCase();
  const status = Number(/^http\/1\.1 (\d{3}) /.exec(head)?.[1]);
  if (end === -1 || Number.isNaN(status)) throw new Error(`no response: ${text.slice(0, 200)}`);
  const length = status === 204 || status === 304 ? 0 : Number(/\r\ncontent-length: (\d+)\r\n/.exec(head)?.[1] ?? 0);
  const rest = text.slice(end + 4);
  return { status, head, body: rest.slice(0, length), rest: rest.slice(length) };
}

for (const kind of KINDS_OF_HTTP1) {
  test(`${kind}: pipelined requests are answered in order with the exact bytes`, async (t) => {
    const path = `${await temporaryDirectory(t)}/file`;
    await writeFile(path, BYTES);
    for (const only of ['read', 'copied', 'mapped'] as const) {
      const { server } = await open(t, kind, {
        store: storeOf({
          file: { kind: 'file', path, etag: '"tag"', immutable: true },
          small: { kind: 'bytes', bytes: Buffer.from('small') },
        }),
        only,
        map: 'always',
      });
      const connection = await RawConnection.open(t, server);
      const host = 'Host: localhost\r\n';
      connection.write(
        `GET /file HTTP/1.1\r\n${host}Range: bytes=10-400000\r\n\r\n` +
          `GET /small HTTP/1.1\r\n${host}\r\n` +
          `GET /missing HTTP/1.1\r\n${host}\r\n` +
          `GET /file HTTP/1.1\r\n${host}If-None-Match: "tag"\r\n\r\n` +
          `GET /file HTTP/1.1\r\n${host}Range: bytes=-1000\r\nConnection: close\r\n\r\n`,
      );
      const text = await connection.closed();
      const range = parse(text);
      t.is(range.status, 206);
      t.true(range.body === BYTES.subarray(10, 400_001).toString('latin1'));
      const small = parse(range.rest);
      t.is(small.body, 'small');
      const missing = parse(small.rest);
      t.is(missing.status, 404);
      const notModified = parse(missing.rest);
      t.is(notModified.status, 304);
      const suffix = parse(notModified.rest);
      t.is(suffix.status, 206);
      t.true(suffix.body === BYTES.subarray(-1000).toString('latin1'));
      t.is(suffix.rest, '');
    }
  });

  test(`${kind}: the connection is reusable after HEAD and after an empty artifact`, async (t) => {
    const { server } = await open(t, kind, {
      store: storeOf({ key: { kind: 'bytes', bytes: BYTES }, empty: { kind: 'bytes', bytes: new Uint8Array(0) } }),
    });
    const connection = await RawConnection.open(t, server);
    for (const path of ['key', 'missing']) {
      connection.write(
        `HEAD /${path} HTTP/1.1\r\nHost: localhost\r\n\r\nGET /empty HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      );
    }
    connection.write('GET /empty HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    const text = await connection.closed();
    t.deepEqual(
      text.match(/HTTP\/1\.1 \d+/g),
      [200, 200, 404, 200, 200].map((status) => `HTTP/1.1 ${status}`),
    );
    t.regex(text, /\r\n\r\n$/);
  });

  test(`${kind}: a request target in absolute form, as proxies receive it, is served`, async (t) => {
    const { server } = await open(t, kind, { store: storeOf({ 'a/key': { kind: 'bytes', bytes: BYTES } }) });
    const connection = await RawConnection.open(t, server);
    connection.write('GET http://localhost/a/key?q HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    t.is(parse(await connection.closed()).body.length, BYTES.byteLength);
  });

  test(`${kind}: an HTTP/1.0 client receives a stream of unknown size without chunked encoding`, async (t) => {
    const { server } = await open(t, kind, {
      store: storeOf({ key: { kind: 'stream', open: () => Readable.from([BYTES]) } }),
    });
    const connection = await RawConnection.open(t, server);
    connection.write('GET /key HTTP/1.0\r\nHost: localhost\r\n\r\n');
    const text = await connection.closed();
    t.notRegex(text.slice(0, 1000), /transfer-encoding/i);
    t.true(text.slice(text.indexOf('\r\n\r\n') + 4) === BYTES.toString('latin1'));
  });

  test(`${kind}: a client that sends Expect: 100-continue receives 100, then the final response`, async (t) => {
    const { server, ask } = await open(t, kind, { store: memoryStore() });
    const connection = await RawConnection.open(t, server);
    connection.write('PUT /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n');
    await connection.until(/^HTTP\/1\.1 100 Continue\r\n\r\n/);
    connection.write('bytes');
    await connection.until(/HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n/);
    t.is((await ask('GET', '/key')).body.toString(), 'bytes');
  });

  if (can(kind, 'close-connections')) {
    test(`${kind}: after a rejected upload the connection is closed, and the rest of its body is not parsed as a request`, async (t) => {
      const { server } = await open(t, kind, { store: memoryStore(), maxUploadBytes: 10 });
      const connection = await RawConnection.open(t, server);
      const smuggled = 'GET /key HTTP/1.1\r\nHost: localhost\r\n\r\n';
      connection.write(
        `PUT /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled.slice(0, 5)}`,
      );
      await connection.until(/^HTTP\/1\.1 413 /);
      connection.write(smuggled.slice(5));
      const { head, rest } = parse(await connection.closed());
      t.regex(head, /\r\nconnection: close\r\n/);
      t.is(rest, '');
    });
  }

  test(`${kind}: an upload with invalid chunked encoding stores nothing`, async (t) => {
    const { server, ask } = await open(t, kind, { store: memoryStore() });
    const connection = await RawConnection.open(t, server);
    connection.write(
      'PUT /key HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n',
    );
    await connection.closed();
    t.is((await ask('GET', '/key')).status, 404);
  });
}

const WRITER = 'writer-0123456789abcdef';
const READER = 'reader-0123456789abcdef';
const PATH = `/gradle/${'a'.repeat(32)}`;

interface Upload {
  readonly method?: string;
  readonly path?: string;
  readonly token?: string;
  readonly length?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Uploads that are refused by their headers, by status. */
const REFUSED: Readonly<Record<number, Upload>> = {
  400: { path: '/gradle/not-a-key' },
  401: { token: '' },
  403: { token: READER },
  404: { path: '/other' },
  405: { method: 'POST' },
  412: { headers: { 'if-match': '"x"' } },
  // The upload is too large: Gradle takes this status for a skipped upload.
  202: { length: 1001 },
  414: { path: `/sccache/${'k'.repeat(1025)}` },
};

/** Sends the headers of an upload with `Expect: 100-continue`, and resolves to the first status. */
async function firstStatus(t: ExecutionContext, server: RunningServer, upload: Upload): Promise<number> {
  const { method = 'PUT', path = PATH, token = WRITER, length = 5, headers } = upload;
  const fields = { expect: '100-continue', 'content-length': `${length}`, ...headers };
  const all = token === '' ? fields : { ...fields, authorization: `Bearer ${token}` };
  if (server.version === 2) {
    const stream = sessionOf(server).request({ ':method': method, ':path': path, ...all }, { endStream: false });
    t.teardown(() => stream.close());
    return new Promise((resolve, reject) => {
      stream.on('continue', () => resolve(100)).on('response', (head) => resolve(Number(head[':status'])));
      stream.on('error', reject);
    });
  }
  const connection = await RawConnection.open(t, server);
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  connection.write(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\n${lines.join('')}\r\n`);
  const { status } = parse(await connection.until(/\r\n\r\n/));
  if (status === 100) {
    connection.write('bytes');
    t.regex(await connection.until(/ 200 OK\r\n.*\r\n\r\n/s), /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/);
  }
  return status;
}

for (const kind of Object.keys(KINDS) as Kind[]) {
  // The Fetch API has no 100 Continue.
  if (KINDS[kind].host === 'fetch') continue;
  test(`${kind}: an upload that is refused by its headers gets no 100 Continue`, async (t) => {
    const access = staticTokens([
      { token: WRITER, level: 'write' },
      { token: READER, level: 'read' },
    ]);
    const options = { store: memoryStore(), access, protocols: [gradle(), sccache()], maxUploadBytes: 1000 };
    const { server } = await open(t, kind, options, { continueOnRead: true });
    for (const [status, upload] of Object.entries(REFUSED)) {
      // These frameworks read the body of a request that no route handles before they respond.
      if (status === '404' && ['connect', 'express', 'express4'].includes(KINDS[kind].host)) continue;
      t.is(await firstStatus(t, server, upload), Number(status));
    }
    t.is(await firstStatus(t, server, {}), 100);
  });
}

for (const kind of ['port-node-http', 'port-node-h2c', 'port-front-http', 'port-front-h2c', 'express-http'] as const) {
  test(`${kind}: a host that reads the body of a request gets it after 100 Continue`, async (t) => {
    const before: Middleware = (request, response) => {
      request.resume().on('end', () => void response.end('read'));
    };
    const { server } = await open(
      t,
      kind,
      { store: memoryStore(), protocols: [gradle()] },
      { before, continueOnRead: true },
    );
    t.is(await firstStatus(t, server, { path: '/other' }), 100);
  });
}

test('the checkContinue line of docs/frameworks.md withholds 100 Continue', async (t) => {
  const snippets = await snippetsOf('docs/frameworks.md');
  const code = snippets.find((snippet) => snippet.code.includes("'checkContinue'"))?.code ?? '';
  const port = Number(new URL(await startProgram(t, code)).port);
  const server: RunningServer = { ...KINDS.http, kind: 'http', port, certificate: undefined };
  t.is(await firstStatus(t, server, { path: '/cache/a//b' }), 400);
  t.is(await firstStatus(t, server, { path: '/cache/key' }), 100);
});
