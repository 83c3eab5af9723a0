import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { expressMiddleware } from '../../src/adapters/express.js';
import { nodeListener, streamListener } from '../../src/adapters/node.js';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import { memoryStore } from '../../src/stores/memory.js';
import { certificate } from '../helpers/certificate.js';
import { request } from '../helpers/client.js';
import { until } from '../helpers/poll.js';
import { type RunningServer, startListener } from '../helpers/servers.js';
import { collectWarnings } from '../helpers/warnings.js';

function handlerOf(t: ExecutionContext): Handler {
  const handler = createHandler({ store: memoryStore() });
  t.teardown(() => handler.close());
  return handler;
}

/** Starts a server of Node whose listeners the test has added. */
async function start(t: ExecutionContext, server: Server, version: 1 | 2): Promise<RunningServer> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address() as AddressInfo;
  return { kind: 'h2c', host: 'node', create: 'h2c', tls: false, version, port, certificate: undefined };
}

test.serial("nodeListener on 'stream' answers with 500 and warns once", async (t) => {
  const warnings = collectWarnings(t);
  const server = http2.createServer().on('stream', nodeListener(handlerOf(t)) as never);
  const running = await start(t, server, 2);
  for (let count = 0; count < 2; count++) t.is((await request(running, { path: '/key' })).status, 500);
  await until('the warning is emitted', () => warnings.length > 0);
  t.deepEqual(warnings, [
    "nodeListener: expected a request and a response, received an HTTP/2 stream; add it to 'request', or use streamListener",
  ]);
});

test.serial("streamListener on 'request' answers with 500 and warns once", async (t) => {
  const warnings = collectWarnings(t);
  const listener = streamListener(handlerOf(t)) as never;
  const http1 = await start(t, http.createServer(listener), 1);
  const http2c = await start(t, http2.createServer(listener), 2);
  for (const server of [http1, http2c]) t.is((await request(server, { path: '/key' })).status, 500);
  await until('the warning is emitted', () => warnings.length > 0);
  t.deepEqual(warnings, [
    "streamListener: expected an HTTP/2 stream, received a request and a response; add it to 'stream', or use nodeListener",
  ]);
});

test.serial("allowHTTP1 with a 'stream' listener only: HTTP/1.1 is answered with 500, HTTP/2 is served", async (t) => {
  const warnings = collectWarnings(t);
  const tls = await certificate();
  const server = http2.createSecureServer({ ...tls, allowHTTP1: true });
  server.on('stream', streamListener(handlerOf(t)));
  const { port } = await start(t, server, 1);
  const options = { port, host: '127.0.0.1', ca: tls.cert, agent: false } as const;
  for (const headers of [{}, { expect: '100-continue' }]) {
    const outgoing = https.request({ ...options, headers }).end();
    const [response] = await once(outgoing, 'response');
    t.is(response.resume().statusCode, 500);
    await once(response, 'end');
  }
  const session = http2.connect(`https://127.0.0.1:${port}`, { ca: tls.cert });
  const stream = session.request({ ':path': '/key' });
  const [headers] = await once(stream, 'response');
  t.is(headers[':status'], 404);
  stream.resume();
  await once(stream, 'close');
  session.close();
  t.deepEqual(warnings, [
    "streamListener: the server accepts HTTP/1.1 (allowHTTP1) but has no 'request' listener; add nodeListener to 'request' instead, which serves both versions",
  ]);
});

test('expressMiddleware as the only listener of a server answers what the handler passes on with 404', async (t) => {
  const handler = createHandler({ store: memoryStore(), mountPath: '/cache' });
  t.teardown(() => handler.close());
  const middleware = expressMiddleware(handler) as http.RequestListener;
  const server = await startListener(t, 'http', middleware as never);
  t.is((await request(server, { path: '/elsewhere' })).status, 404);
});
