import { writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import test from 'ava';
import { memoryStore } from '../../src/stores/memory.js';
import { RawConnection } from '../helpers/raw.js';
import { can, KINDS, type Kind } from '../helpers/servers.js';
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
      const host = 'Host: a\r\n';
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
      connection.write(`HEAD /${path} HTTP/1.1\r\nHost: a\r\n\r\nGET /empty HTTP/1.1\r\nHost: a\r\n\r\n`);
    }
    connection.write('GET /empty HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
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
    connection.write('GET http://a.example/a/key?q HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n');
    t.is(parse(await connection.closed()).body.length, BYTES.byteLength);
  });

  test(`${kind}: an HTTP/1.0 client receives a stream of unknown size without chunked encoding`, async (t) => {
    const { server } = await open(t, kind, {
      store: storeOf({ key: { kind: 'stream', open: () => Readable.from([BYTES]) } }),
    });
    const connection = await RawConnection.open(t, server);
    connection.write('GET /key HTTP/1.0\r\nHost: a\r\n\r\n');
    const text = await connection.closed();
    t.notRegex(text.slice(0, 1000), /transfer-encoding/i);
    t.true(text.slice(text.indexOf('\r\n\r\n') + 4) === BYTES.toString('latin1'));
  });

  test(`${kind}: a client that sends Expect: 100-continue receives 100, then the final response`, async (t) => {
    const { server, ask } = await open(t, kind, { store: memoryStore() });
    const connection = await RawConnection.open(t, server);
    connection.write('PUT /key HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n');
    await connection.until(/^HTTP\/1\.1 100 Continue\r\n\r\n/);
    connection.write('bytes');
    await connection.until(/HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n/);
    t.is((await ask('GET', '/key')).body.toString(), 'bytes');
  });

  if (can(kind, 'close-connections')) {
    test(`${kind}: after a rejected upload the connection is closed, and the rest of its body is not parsed as a request`, async (t) => {
      const { server } = await open(t, kind, { store: memoryStore(), maxUploadBytes: 10 });
      const connection = await RawConnection.open(t, server);
      const smuggled = 'GET /key HTTP/1.1\r\nHost: a\r\n\r\n';
      connection.write(
        `PUT /key HTTP/1.1\r\nHost: a\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled.slice(0, 5)}`,
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
    connection.write('PUT /key HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n');
    await connection.closed();
    t.is((await ask('GET', '/key')).status, 404);
  });
}
