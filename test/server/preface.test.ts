import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net, { type AddressInfo, type Socket } from 'node:net';
import tls from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { protocolOf } from '../../src/server/preface.js';
import { openPort, untilClosed } from './fixture.js';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

const hello: http.RequestListener = (request, response) => {
  response.end(`${request.httpVersion} ${request.method}`);
};

/** A proxy that hands on what clients say first in pieces of the sizes given, each in a segment of its own. */
async function piecewise(t: ExecutionContext, port: number, sizes: readonly number[]): Promise<number> {
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

async function askHttp1(port: number, method: string): Promise<string> {
  const request = http.request({ port, host: '127.0.0.1', method, agent: false }).end();
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  return (await response.toArray()).join('');
}

async function askHttp2(port: number): Promise<string> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  try {
    await once(session, 'connect');
    return (await session.request({ ':path': '/' }).toArray()).join('');
  } finally {
    session.destroy();
  }
}

test('both protocols on one plain port, their first bytes in any number of pieces', async (t) => {
  const { port } = await openPort(t, hello);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 6 }),
      fc.constantFrom('h2', 'GET', 'PUT', 'PROPFIND', 'POST', 'DELETE'),
      async (sizes, what) => {
        const through = await piecewise(t, port, sizes);
        if (what === 'h2') t.is(await askHttp2(through), '2.0 GET');
        else t.is(await askHttp1(through, what), `1.1 ${what}`);
      },
    ),
    { numRuns: 30 },
  );
  // each byte on its own
  const single = Array.from({ length: 40 }, () => 1);
  t.is(await askHttp2(await piecewise(t, port, single)), '2.0 GET');
  t.is(await askHttp1(await piecewise(t, port, single), 'PUT'), '1.1 PUT');
});

test('the preface is told from everything else, however much of it is there', (t) => {
  const preface = Buffer.from(PREFACE);
  for (let length = 0; length < preface.length; length++) t.is(protocolOf(preface.subarray(0, length)), undefined);
  t.is(protocolOf(preface), 'http2');
  t.is(protocolOf(Buffer.concat([preface, Buffer.from('more')])), 'http2');
  fc.assert(
    fc.property(fc.integer({ min: 1, max: preface.length - 1 }), fc.uint8Array({ minLength: 1 }), (at, other) => {
      const bytes = Buffer.concat([preface.subarray(0, at), other]);
      const isPreface = preface.subarray(0, bytes.length).equals(bytes.subarray(0, preface.length));
      t.is(protocolOf(bytes), isPreface ? (bytes.length >= preface.length ? 'http2' : undefined) : 'http1');
    }),
  );
  t.is(protocolOf(Buffer.from('GET / HTTP/1.1')), 'http1');
  t.is(protocolOf(Buffer.from('\r\nGET')), 'http1');
  t.is(protocolOf(Buffer.from([0x16, 3, 1])), 'tls');
  t.is(protocolOf(Buffer.from([0])), 'unknown');
  t.is(protocolOf(Buffer.from([0xff, 0xff])), 'unknown');
});

test('TLS on the plain port, and what is no protocol, ends the connection', async (t) => {
  const { port, connect } = await openPort(t, hello);
  const secure = tls.connect({ port, host: '127.0.0.1' });
  const [error] = (await once(secure, 'error')) as [NodeJS.ErrnoException];
  t.regex(`${error.code} ${error.message}`, /ECONNRESET|disconnected/);
  for (const bytes of ['\0\0\0', '\xff', ' GET / HTTP/1.1\r\n\r\n']) {
    const socket = await connect();
    socket.write(bytes, 'latin1');
    t.is(await untilClosed(socket), '');
  }
  // What begins like the preface and is not has to be HTTP/1.1, whose server answers.
  const socket = await connect();
  socket.write('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n');
  t.regex(await untilClosed(socket), /^HTTP\/1\.1 400 /);
});

test('silence, and a preface that does not get on, end the connection in time', async (t) => {
  const { connect } = await openPort(t, hello, { prefaceTimeoutMs: 200 });
  const closes = async (socket: Socket): Promise<number> => {
    const start = performance.now();
    t.is(await untilClosed(socket), '');
    return performance.now() - start;
  };
  const silent = closes(await connect());
  const begun = await connect();
  begun.write('PRI * ');
  const dribbling = await connect();
  const dribble = setInterval(() => dribbling.write('P'), 1000);
  t.teardown(() => clearInterval(dribble));
  dribbling.write('P');
  for (const ms of await Promise.all([silent, closes(begun), closes(dribbling)])) {
    // The client hears of the connection later than the server, and of its end too.
    t.true(ms >= 100, `${ms} ms`);
  }
});

test('a client that ends without a word is gone at once', async (t) => {
  const { connect } = await openPort(t, hello);
  const socket = await connect();
  socket.end();
  t.is(await untilClosed(socket), '');
});

test('with TLS, ALPN chooses; a handshake that does not get on ends in time', async (t) => {
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
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    t.regex(await untilClosed(socket), /^HTTP\/1\.1 200 /);
  }
  const unknown = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['spdy/3'] });
  await once(unknown, 'error');
  t.is(await untilClosed(await connect()), '');
  const plain = await connect();
  plain.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  t.notRegex(await untilClosed(plain), /HTTP/);
});
