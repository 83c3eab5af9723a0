import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo, Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import test from 'ava';
import { Connections } from '../../src/server/connections.js';
import { ConnectionTotals } from '../../src/server/stats.js';
import { UnknownConnection } from '../../src/server/unknown-connection.js';
import { certificate } from '../helpers/certificate.js';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { temporaryDirectory, writePattern } from '../helpers/files.js';
import { Frames } from '../helpers/frames.js';
import { until } from '../helpers/poll.js';
import { openPort } from './fixture.js';

for (const secure of [false, true]) {
  test(`a connection above maxConnections takes the place of the longest idle one, and is closed if there is none, ${secure ? 'TLS' : 'plain'}`, async (t) => {
    const held: http.ServerResponse[] = [];
    const listener: http.RequestListener = (_request, response) => void held.push(response);
    const { server, port, connect, session } = await openPort(t, listener, { secure, maxConnections: 4 });
    const agent = { rejectUnauthorized: false, agent: false } as const;
    const https = await import('node:https');
    const get = () => {
      const client = (secure ? https : http).get({ port, host: '127.0.0.1', ...agent });
      client.on('error', () => {});
      return client;
    };
    const whenHeld = (count: number) => until(`${count} requests are in flight`, () => held.length === count);

    const silent = await connect();
    await until('the silent connection is accepted', () => server.stats().connections.unknown === 1);
    const client = await session();
    const goaway = once(client, 'goaway');
    const idle = await Frames.connect(t, { port, certificate: secure ? await certificate() : undefined });
    await until('the sessions are accepted', () => server.stats().connections.http2 === 2);
    const busy = client.request({ ':path': '/' }).on('error', () => {});
    await whenHeld(1);
    get();
    await whenHeld(2);
    t.is(server.stats().terminated.evicted, 0);

    get();
    await once(silent.resume(), 'close');
    get();
    await until('the session without streams gets GOAWAY', () => idle.hasGoaway);
    await until('it is closed', () => idle.socket.destroyed);
    await whenHeld(4);

    const refused = get();
    const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
    t.is(error.code, 'ECONNRESET');
    t.like(server.stats(), { maxConnections: 4, refused: 1, connections: { http1: 3, http2: 1 } });

    held[0]?.end();
    await once(busy.resume(), 'close');
    await until('the stream has closed', () => server.stats().openStreams === 0);
    get();
    t.is((await goaway)[0], 0);
    await until('the new request has arrived', () => held.length === 5);
    t.is(server.stats().refused, 1);
    t.is(server.stats().terminated.evicted, 3);
    for (const response of held) response.end();
  });
}

test('the connection whose last request is the oldest is closed first', async (t) => {
  const { connect } = await openPort(t, (_request, response) => void response.end('done'), {
    maxConnections: 3,
    headersTimeoutMs: 40, // so that connections are checked every 10 ms
  });
  const send = async (socket: Socket) => {
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await once(socket, 'data');
  };
  const [first, second] = [await connect(), await connect()];
  await send(first);
  await send(second);
  await wait(100);
  await send(first);
  await wait(100);
  await connect();
  const third = await connect();
  await once(second, 'close');
  t.false(first.destroyed || third.destroyed);
});

test('connections of the address with the most connections are closed first, unless it is a loopback address', async (t) => {
  const connections = new Connections(6, new ConnectionTotals());
  const addresses = ['192.0.2.1', '::1', '192.0.2.2', '::1', '192.0.2.2', '::1', '192.0.2.3', '192.0.2.4', '192.0.2.5'];
  const accepted: Socket[] = [];
  const server = net.createServer((socket) => {
    // The address of a loopback connection cannot be chosen freely.
    Object.defineProperty(socket, 'remoteAddress', { value: addresses[accepted.length] });
    accepted.push(socket);
    if (!connections.admit(socket)) return;
    connections.add(socket, new UnknownConnection(socket, new ConnectionTotals(), Number.POSITIVE_INFINITY));
  });
  t.teardown(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const closed: (number | undefined)[] = [];
  for (const [index] of addresses.entries()) {
    // The address of a server that listens on a port is an AddressInfo.
    const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {});
    t.teardown(() => client.destroy());
    await until('the connection is accepted', () => accepted.length === index + 1);
    accepted[index]?.on('close', () => closed.push(index));
    await until('another one is closed', () => closed.length === Math.max(0, index - 5));
  }
  // The older one of 192.0.2.2, which has two. After that, each address counts as one.
  t.deepEqual(closed, [2, 0, 1]);
});

test('the address with the most connections is found behind more than 1,000 other connections', (t) => {
  const totals = new ConnectionTotals();
  const connections = new Connections(1200, totals);
  const admit = (remoteAddress: string) => {
    const socket = Object.defineProperty(new Socket(), 'remoteAddress', { value: remoteAddress });
    t.true(connections.admit(socket));
    connections.add(socket, new UnknownConnection(socket, totals, Number.POSITIVE_INFINITY));
    return socket;
  };
  const others = Array.from({ length: 1100 }, (_, index) => admit(`10.0.${index >> 8}.${index & 255}`));
  const many = Array.from({ length: 100 }, () => admit('192.0.2.1'));
  admit('192.0.2.2');
  t.deepEqual(
    [...others, ...many].filter(({ destroyed }) => destroyed),
    many.slice(0, 1),
  );
});

for (const version of [1, 2] as const) {
  test(`if all clients keep the server waiting, a new one takes the place of another, HTTP/${version}`, async (t) => {
    const read = (request: http.IncomingMessage, response: http.ServerResponse) => {
      if (request.method === 'GET') response.end('done');
      else request.on('error', () => {}).resume();
    };
    const { server, port, session, connect } = await openPort(t, read, { maxConnections: 3 });
    let closed = 0;
    for (let count = 0; count < 3; count++) {
      if (version === 1) {
        const socket = (await connect()).on('close', () => void closed++);
        socket.resume().write('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc');
        const { connections } = server.stats();
        await until('the request has arrived', () => server.stats().connections.http1 > connections.http1);
      } else {
        const client = (await session()).on('close', () => void closed++);
        client
          .request({ ':method': 'PUT' })
          .on('error', () => {})
          .write('abc');
        const { openStreams } = server.stats();
        await until('the request has arrived', () => server.stats().openStreams > openStreams);
      }
    }
    const get = () =>
      new Promise<number | undefined>((resolve) => {
        const client = http.get({ port, host: '127.0.0.1', agent: false }, (response) => {
          response.resume().on('end', () => resolve(response.statusCode));
        });
        client.on('error', () => resolve(undefined));
      });
    t.is(await get(), undefined);
    await until('a place is free', async () => (await get()) === 200);
    await until('the client sees it', () => closed > 0);
    t.is(closed, 1);
    t.is(server.stats().terminated.evicted, 1);
  });
}

test('idle connections beyond the descriptors of the process do not keep clients from their responses', async (t) => {
  const directory = await temporaryDirectory(t);
  const body = writePattern(directory, 'key', 4096, 1);
  for (const kind of ['port-http', 'port-https'] as const) {
    const { server } = await ChildServer.start(t, { kind, directory, maxDescriptors: 64 });
    const sockets = Array.from({ length: 100 }, () => net.connect(server.port, '127.0.0.1').on('error', () => {}));
    t.teardown(() => {
      for (const socket of sockets) socket.destroy();
    });
    await until('all sockets are connected', () => sockets.every(({ connecting }) => !connecting));
    t.deepEqual((await request(server, { path: '/key' })).body, body, kind);
  }
});
