import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import test from 'ava';
import { createServer } from '../../src/server/server.js';
import { certificate } from '../helpers/certificate.js';
import { collectEvents } from '../helpers/events.js';
import { temporaryDirectory } from '../helpers/files.js';
import { until } from '../helpers/poll.js';
import { openPort, untilClosed } from './fixture.js';

const hello: Parameters<typeof createServer>[0] = (_request, response) => void response.end('hello');

// Serial, because all servers of the process share the channel.
test.serial('TLS on a plain port is answered in plain text, closed and reported', async (t) => {
  const events = collectEvents(t);
  const { server, port, connect } = await openPort(t, hello);
  const secure = tls.connect({ port, host: '127.0.0.1' });
  const [error] = (await once(secure, 'error')) as [NodeJS.ErrnoException];
  t.is(error.code, 'ERR_SSL_WRONG_VERSION_NUMBER');
  const socket = await connect();
  socket.write(Buffer.from([0x16, 3, 1, 2, 0])); // the header of a record
  const text = await untilClosed(socket.on('end', () => socket.end()));
  t.regex(text, /^HTTP\/1\.1 400 Bad Request\r\n(?:.*\r\n)*\r\n\{"message":".* Use http:\/\/ in the URL\."\}\n$/);
  t.is(events.length, 2);
  t.like(events[0], {
    event: 'wrong scheme',
    details:
      'the client 127.0.0.1 speaks TLS to the plain port; use http:// in its URL, or serve HTTPS (--tls-cert, or the option tls)',
  });
  await until('the connections are closed', () => server.stats().connections.unknown === 0);
  t.is(server.stats().terminated.preface, 2);
});

for (const request of ['GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'P', '\r\n']) {
  test.serial(`HTTP on a TLS port is answered with 400 and reported: ${JSON.stringify(request)}`, async (t) => {
    const events = collectEvents(t);
    const { server, connect, session } = await openPort(t, hello, { secure: true });
    const socket = await connect();
    socket.write(request);
    const text = await untilClosed(socket.on('end', () => socket.end()));
    t.regex(text, /^HTTP\/1\.1 400 Bad Request\r\n(?:.*\r\n)*\r\n\{"message":".* Use https:\/\/ in the URL\."\}\n$/);
    t.regex(text, /\r\nConnection: close\r\n/);
    t.like(events[0], {
      event: 'wrong scheme',
      details: 'the client 127.0.0.1 speaks HTTP without TLS to the HTTPS port; use https:// in its URL',
    });
    await until('the connection is closed', () => server.stats().connections.unknown === 0);
    t.is((await (await session()).request({ ':path': '/' }).toArray()).join(''), 'hello');
    t.is(events.length, 1);
  });
}

test.serial('a client that sends a whole upload before it reads receives the response of the TLS port', async (t) => {
  const { connect } = await openPort(t, hello, { secure: true });
  const socket = (await connect()).pause();
  const size = 20 * 1024 * 1024;
  socket.write(`PUT /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${size}\r\n\r\n`);
  await new Promise<void>((resolve, reject) => {
    socket.write(Buffer.alloc(size), (error) => (error ? reject(error) : resolve()));
  });
  socket.end().resume();
  t.regex(await untilClosed(socket), /^HTTP\/1\.1 400 /);
});

test.serial('connections that were answered are the first to be closed for new ones', async (t) => {
  const { server, connect } = await openPort(t, hello, { maxConnections: 2, secure: true });
  const refused = await Promise.all([connect(), connect()]);
  for (const socket of refused) socket.pause().write('GET');
  await until('both are answered', () => server.stats().terminated.preface === 2);
  const socket = await connect();
  socket.write('GET');
  await once(socket, 'data');
  t.is(server.stats().terminated.evicted, 1);
});

test.serial('a TLS handshake that begins with single bytes succeeds', async (t) => {
  const { port } = await openPort(t, hello, { secure: true });
  const proxy = net.createServer(async (client) => {
    const target = net.connect({ port, host: '127.0.0.1', noDelay: true }).on('error', () => {});
    client.on('error', () => {}).on('close', () => target.destroy());
    target.on('close', () => client.destroy()).pipe(client);
    const [first] = (await once(client, 'data')) as [Buffer];
    client.pause();
    for (const byte of first) {
      target.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    client.pipe(target);
  });
  t.teardown(() => proxy.close());
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { cert } = await certificate();
  const socket = tls.connect({ port: (proxy.address() as AddressInfo).port, host: '127.0.0.1', ca: cert });
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  t.regex(await untilClosed(socket), /hello$/);
});

test.serial('over a Unix socket, the handshake succeeds and a silent client is disconnected', async (t) => {
  const { cert, key } = await certificate();
  const server = createServer(hello, { tls: { cert, key }, prefaceTimeoutMs: 200 });
  const path = join(await temporaryDirectory(t), 'socket');
  await server.listen({ path });
  t.teardown(() => server.close({ timeoutMs: 0 }));
  const silent = net.connect({ path });
  t.is(await untilClosed(silent), '');
  const socket = tls.connect({ path, ca: cert, servername: 'localhost' });
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  t.regex(await untilClosed(socket), /hello$/);
  const plain = net.connect({ path });
  plain.write('GET / HTTP/1.1\r\n\r\n');
  t.regex(await untilClosed(plain.on('end', () => plain.end())), /^HTTP\/1\.1 400 /);
});
