import diagnosticsChannel from 'node:diagnostics_channel';
import { writeFile } from 'node:fs/promises';
import test from 'ava';
import * as onExpress from '../../src/adapters/express.js';
import * as onFastify from '../../src/adapters/fastify.js';
import * as onHono from '../../src/adapters/hono.js';
import * as onKoa from '../../src/adapters/koa.js';
import * as onNode from '../../src/adapters/node.js';
import { HotblobError } from '../../src/contract/errors.js';
import { fileArtifact } from '../../src/contract/file-artifact.js';
import { SendError } from '../../src/contract/send-error.js';
import { createHandler } from '../../src/handler/handler.js';
import type { SenderOptions } from '../../src/handler/options.js';
import type { ResponseReport } from '../../src/handler/response-record.js';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody } from '../behaviour/site.js';
import { request } from '../helpers/client.js';
import { RawConnection } from '../helpers/raw.js';
import { openRoute } from '../helpers/routes.js';
import { startListener } from '../helpers/servers.js';
import { withSources } from '../helpers/sources.js';
import { content, refusal, temporaryDirectory } from '../stores/fixture.js';

const BYTES = content(300_000);

for (const [name, createSender] of Object.entries({
  node: onNode.createSender,
  express: onExpress.createSender,
  koa: onKoa.createSender,
  fastify: onFastify.createSender,
  hono: onHono.createSender,
})) {
  test(`${name}: createSender validates its options, and rejects those of a handler`, (t) => {
    const invalid: [unknown, RegExp][] = [
      [null, /^options: expected an object, received null$/],
      [{ store: {} }, /^unknown option 'store'; expected one of maxPooledBytes, processes, maxOpenFiles, map, /],
      [{ mountPath: '/a' }, /^unknown option 'mountPath'; expected one of/],
      [{ maxPooledBytes: 5 }, /^maxPooledBytes: /],
      [{ map: true }, /^map: expected 'auto', 'always', 'never', received true$/],
    ];
    for (const [options, message] of invalid) {
      t.throws(() => createSender(options as SenderOptions), refusal('ERR_HOTBLOB_INVALID_OPTION', message));
    }
    const sender = createSender({ maxPooledBytes: 2 ** 20, memory: fixedMemoryPressure('critical'), map: undefined });
    t.like(sender.stats(), { responses: {}, openFiles: 0, pooledBytes: 0, pressure: 'critical' });
    sender.close();
  });
}

// Serial, because all senders of the process share the channel.
test.serial('a sent response is counted and published, and a miss is not', async (t) => {
  const path = `${await temporaryDirectory(t)}/file`;
  await writeFile(path, BYTES);
  const reports: ResponseReport[] = [];
  const onReport = (message: unknown): void => void reports.push(message as ResponseReport);
  diagnosticsChannel.subscribe('hotblob:response', onReport);
  t.teardown(() => diagnosticsChannel.unsubscribe('hotblob:response', onReport));
  const site = await openRoute(t, 'http', {
    artifactOf: (url) => fileArtifact(url === '/file' ? path : `${path}-none`),
    sender: withSources({ only: 'read' }),
  });
  assertBody(t, (await site.ask('/file')).body, BYTES);
  t.is((await site.ask('/none')).status, 404);
  t.like(site.stats(), { responses: { 200: 1 }, openFiles: 1 });
  t.is(site.stats().sent.read.bytes, BYTES.byteLength);
  t.is(reports.length, 1);
  t.like(reports[0], { method: 'GET', key: undefined, status: 200, complete: true, error: undefined });
});

test('pipelined requests are answered in order, misses included', async (t) => {
  const path = `${await temporaryDirectory(t)}/file`;
  await writeFile(path, BYTES);
  const { server, outcomes } = await openRoute(t, 'express-http', {
    artifactOf: (url) => fileArtifact(url === '/none' ? `${path}-none` : path),
  });
  const connection = await RawConnection.open(t, server);
  const get = (url: string, headers = ''): string => `GET ${url} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`;
  connection.write(get('/file') + get('/none') + get('/file', 'Range: bytes=0-4\r\nConnection: close\r\n'));
  const text = await connection.closed();
  t.deepEqual(text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 206']);
  t.true(text.includes(BYTES.toString('latin1')));
  t.deepEqual([...outcomes].sort(), [false, true, true]);
});

test('SendError has a code, a status and headers for any cause, and a generic message', (t) => {
  const errno = (code: string): Error => Object.assign(new Error(`${code}: open '/secret'`), { code });
  const cases: [unknown, string, number][] = [
    [errno('EACCES'), 'EACCES', 403],
    [errno('EPERM'), 'EPERM', 403],
    [errno('EMFILE'), 'EMFILE', 503],
    [errno('ENOMEM'), 'ENOMEM', 503],
    [errno('ENOSPC'), 'ENOSPC', 507],
    [errno('EIO'), 'EIO', 500],
    [new HotblobError('ERR_HOTBLOB_OVERLOADED', 'secret'), 'ERR_HOTBLOB_OVERLOADED', 503],
    [new HotblobError('ERR_HOTBLOB_CLIENT_GONE', 'secret'), 'ERR_HOTBLOB_CLIENT_GONE', 499],
    [new Error('secret'), 'ERR_HOTBLOB_INTERNAL', 500],
    ['secret', 'ERR_HOTBLOB_INTERNAL', 500],
    [undefined, 'ERR_HOTBLOB_INTERNAL', 500],
  ];
  for (const [cause, code, status] of cases) {
    const error = new SendError(cause);
    t.like(error, { name: 'SendError', code, status, statusCode: status, cause });
    t.deepEqual(Object.keys(error.headers), status === 503 ? ['retry-after'] : []);
    if (status === 503) t.regex(String(error.headers['retry-after']), /^(?:[1-9]|10)$/);
    t.notRegex(error.message, /secret/);
  }
});

test('nodeListener without `next` does not respond again if the host has sent headers', async (t) => {
  const handler = createHandler({ store: memoryStore(), mountPath: '/cache' });
  t.teardown(() => handler.close());
  const listener = onNode.nodeListener(handler);
  for (const kind of ['http', 'h2-compat'] as const) {
    const server = await startListener(t, kind, (req, response) => {
      response.writeHead(202);
      listener(req, response);
      setImmediate(() => response.end('of the host'));
    });
    for (const path of ['/elsewhere', '/cache/none']) {
      const { status, body } = await request(server, { path });
      t.is(status, 202);
      t.is(body.toString(), 'of the host');
    }
  }
});
