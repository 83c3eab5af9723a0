import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import test, { type ExecutionContext } from 'ava';
import { DelayProxy } from './delay-proxy.js';
import { until } from './poll.js';

const MIB = 1024 * 1024;

async function listen(t: ExecutionContext, onSocket: (socket: Socket) => void): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    t.teardown(() => socket.destroy());
    onSocket(socket.on('error', () => {}));
  });
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function connect(t: ExecutionContext, port: number): Promise<Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true }).on('error', () => {});
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

async function start(t: ExecutionContext, options: Parameters<typeof DelayProxy.start>[0]): Promise<DelayProxy> {
  const proxy = await DelayProxy.start(options);
  t.teardown(() => proxy.close());
  return proxy;
}

test('a response arrives after the configured round-trip time', async (t) => {
  const port = await listen(t, (socket) => socket.pipe(socket));
  const proxy = await start(t, { port, roundTripMs: 50 });
  const socket = await connect(t, proxy.port);
  const times: number[] = [];
  for (let i = 0; i < 10; i++) {
    const begin = performance.now();
    socket.write('x');
    await once(socket, 'data');
    times.push(performance.now() - begin);
  }
  const best = Math.min(...times);
  t.true(best >= 49 && best < 65, `${best} ms`);
});

test('bytes arrive complete and in order in both directions, and each direction ends separately', async (t) => {
  const sent = Buffer.alloc(12 * MIB);
  for (let at = 0; at < sent.byteLength; at += 4) sent.writeUInt32LE(at, at);
  // The server responds after the end of the request, so the connection is half-closed meanwhile.
  const port = await listen(t, (socket) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => socket.end(Buffer.concat(chunks)));
  });
  const proxy = await start(t, { port, roundTripMs: 20, maxBytesInFlight: MIB });
  const socket = await connect(t, proxy.port);
  const begin = performance.now();
  socket.end(sent);
  t.true(Buffer.concat(await socket.toArray()).equals(sent));
  // 12 MiB in each direction, with 1 MiB per round trip of 20 ms.
  t.true(performance.now() - begin >= 2 * 11 * 20);
});

test('a receiver that does not read stops the sender', async (t) => {
  const port = await listen(t, (socket) => socket.pause());
  const proxy = await start(t, { port, roundTripMs: 10, maxBytesInFlight: MIB });
  const socket = await connect(t, proxy.port);
  const piece = Buffer.alloc(MIB);
  const sending = pipeline(function* () {
    for (let i = 0; i < 64; i++) yield piece;
  }, socket);
  sending.catch(() => {});
  let before = -1;
  await until('the sender has stopped', async () => {
    const isStill = socket.bytesWritten === before;
    before = socket.bytesWritten;
    await new Promise((resolve) => setTimeout(resolve, 100));
    return isStill;
  });
  t.true(before < 64 * MIB);
});

test('if one end resets the connection, the other end is closed', async (t) => {
  const far: Socket[] = [];
  const port = await listen(t, (socket) => far.push(socket.resume()));
  const proxy = await start(t, { port, roundTripMs: 10 });
  const socket = await connect(t, proxy.port);
  await until('the connection is established', () => far.length === 1);
  socket.resetAndDestroy();
  await until('the other end is closed', () => far[0]?.destroyed === true);
  t.pass();
});

test('close ends open connections', async (t) => {
  const port = await listen(t, () => {});
  const proxy = await DelayProxy.start({ port, roundTripMs: 10 });
  const socket = await connect(t, proxy.port);
  socket.resume();
  await proxy.close();
  await until('the connection is closed', () => socket.destroyed || socket.readableEnded);
  t.pass();
});
