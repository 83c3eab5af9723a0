import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net, { type AddressInfo, type Socket } from 'node:net';
import tls from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { wireProtocolOf } from '../../src/server/preface.js';
import { openPort, untilClosed } from './fixture.js';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

const hello: http.RequestListener = (request, response) => {
  response.end(`${request.httpVersion} ${request.method}`);
};

/** Starts a proxy that forwards the first bytes of a client in pieces of the given sizes, each in its own TCP segment. */
async function startSplittingProxy(t: ExecutionContext, port: number, sizes: readonly number[]): Promise<number> {
  const proxy = net.createServer(async (client) => {
    const server = net.connect({ port, host: '127.0.0.1', noDelay: true }).on('error', () => {});
    client.on('error', () => {}).on('close', () => server.destroy());
    server.on('close', () => client.destroy()).pipe(client);
    let rest = ((await once(client, 'data')) as [Buffer])[0];
    client.pause();
    for (const size of sizes) {
      server.write(rest.subarray(0, size));
      rest = rest.subarray(size);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    server.write(rest);
    client.pipe(server);
  });
  t.teardown(() => proxy.close());
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return (proxy.address() as AddressInfo).port;
}

async function requestHttp1(port: number, method: string): Promise<string> {
  const request = http.request({ port, host: '127.0.0.1', method, agent: false }).end();
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  return (await response.toArray()).join('');
}

async function requestHttp2(port: number): Promise<string> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  try {
    await once(session, 'connect');
    return (await session.request({ ':path': '/' }).toArray()).join('');
  } finally {
    session.destroy();
  }
}

test('serves both protocols on one plain port, in whatever pieces their first bytes arrive', async (t) => {
  const { port } = await openPort(t, hello);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 6 }),
      fc.constantFrom('h2', 'GET', 'PUT', 'PROPFIND', 'POST', 'DELETE'),
      async (sizes, client) => {
        const proxyPort = await startSplittingProxy(t, port, sizes);
        if (client === 'h2') t.is(await requestHttp2(proxyPort), '2.0 GET');
        else t.is(await requestHttp1(proxyPort, client), `1.1 ${client}`);
      },
    ),
    { numRuns: 30 },
  );
  const singleBytes = Array.from({ length: 40 }, () => 1);
  t.is(await requestHttp2(await startSplittingProxy(t, port, singleBytes)), '2.0 GET');
  t.is(await requestHttp1(await startSplittingProxy(t, port, singleBytes), 'PUT'), '1.1 PUT');
});

test('distinguishes every part of the HTTP/2 preface from other bytes', (t) => {
  const preface = Buffer.from(PREFACE);
  for (let length = 0; length < preface.length; length++) t.is(wireProtocolOf(preface.subarray(0, length)), undefined);
  t.is(wireProtocolOf(preface), 'http2');
  t.is(wireProtocolOf(Buffer.concat([preface, Buffer.from('more')])), 'http2');
  fc.assert(
    fc.property(fc.integer({ min: 1, max: preface.length - 1 }), fc.uint8Array({ minLength: 1 }), (at, other) => {
      const bytes = Buffer.concat([preface.subarray(0, at), other]);
      const isPreface = preface.subarray(0, bytes.length).equals(bytes.subarray(0, preface.length));
      t.is(wireProtocolOf(bytes), isPreface ? (bytes.length >= preface.length ? 'http2' : undefined) : 'http1');
    }),
  );
  t.is(wireProtocolOf(Buffer.from('GET / HTTP/1.1')), 'http1');
  t.is(wireProtocolOf(Buffer.from('\r\nGET')), 'http1');
  t.is(wireProtocolOf(Buffer.from([0x16, 3, 1])), 'tls');
  t.is(wireProtocolOf(Buffer.from([0])), 'unknown');
  t.is(wireProtocolOf(Buffer.from([0xff, 0xff])), 'unknown');
});

test('closes a connection to a plain port that begins with an unknown protocol', async (t) => {
  const { connect } = await openPort(t, hello);
  for (const bytes of ['\0\0\0', '\xff', ' GET / HTTP/1.1\r\n\r\n']) {
    const socket = await connect();
    socket.write(bytes, 'latin1');
    t.is(await untilClosed(socket), '');
  }
  // Bytes that begin like the preface but differ from it count as HTTP/1.1, and its parser responds.
  const socket = await connect();
  socket.write('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n');
  t.regex(await untilClosed(socket), /^HTTP\/1\.1 400 /);
});

test('closes connections that send no complete preface within prefaceTimeoutMs', async (t) => {
  const { connect } = await openPort(t, hello, { prefaceTimeoutMs: 200 });
  const closes = async (socket: Socket): Promise<number> => {
    const start = performance.now();
    t.is(await untilClosed(socket), '');
    return performance.now() - start;
  };
  const silent = closes(await connect());
  const partial = await connect();
  partial.write('PRI * ');
  const dribbling = await connect();
  const dribble = setInterval(() => dribbling.write('P'), 1000);
  t.teardown(() => clearInterval(dribble));
  dribbling.write('P');
  for (const ms of await Promise.all([silent, closes(partial), closes(dribbling)])) {
    // The client sees the connection open and close later than the server does.
    t.true(ms >= 100, `${ms} ms`);
  }
});

test('destroys the socket of a client that closes its side without sending data', async (t) => {
  const { connect } = await openPort(t, hello);
  const socket = await connect();
  socket.end();
  t.is(await untilClosed(socket), '');
});

test('with TLS, ALPN selects the protocol, and an incomplete handshake ends after prefaceTimeoutMs', async (t) => {
  const { port, connect, session } = await openPort(t, hello, { secure: true, prefaceTimeoutMs: 200 });
  const h2 = await session();
  t.is(h2.alpnProtocol, 'h2');
  t.is((await h2.request({ ':path': '/' }).toArray()).join(''), '2.0 GET');
  for (const ALPNProtocols of [['http/1.1'], undefined]) {
    const socket = tls.connect({
      port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ...(ALPNProtocols && { ALPNProtocols }),
    });
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    t.regex(await untilClosed(socket), /^HTTP\/1\.1 200 /);
  }
  const unknown = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['spdy/3'] });
  await once(unknown, 'error');
  t.is(await untilClosed(await connect()), '');
  const incomplete = await connect();
  incomplete.write(Buffer.from([0x16, 3, 1, 2, 0]));
  await untilClosed(incomplete);
  t.pass();
});
