import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import test from 'ava';
import { ChildServer } from '../helpers/child.js';
import { assertBytes } from '../helpers/file-site.js';
import { MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { settled, until } from '../helpers/poll.js';

test.serial('200 clients that stop reading one large artifact add less than 26 MiB of memory', async (t) => {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'large', 64 * MIB, 1);
  const headroomBytes = 128 * MIB;
  const child = await ChildServer.start(t, { kind: 'http', directory, headroomBytes });
  const get = async (): Promise<net.Socket> => {
    const socket = net.connect({ host: '127.0.0.1', port: child.server.port });
    await once(socket, 'connect');
    socket.on('error', () => {});
    socket.write('GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n');
    await once(socket, 'data');
    socket.pause();
    t.teardown(() => socket.destroy());
    return socket;
  };
  (await get()).destroy(); // allocates what all requests share
  await child.stats(); // collects garbage
  const before = child.anonymousBytes();
  const sockets = await Promise.all(Array.from({ length: 200 }, get));
  await settled(async () => (await child.stats()).sent);
  const { mappedBytes, pooledBytes, unmapped } = await child.stats();
  const addedBytes = child.anonymousBytes() - before;
  t.log(`${Math.round(addedBytes / MIB)} MiB added, ${Math.round(mappedBytes / MIB)} MiB mapped in flight`);
  t.true(addedBytes < 26 * MIB, `${addedBytes} bytes for 200 clients`); // 64 MiB for 500 clients
  t.true(mappedBytes > 0 && mappedBytes <= Math.min(headroomBytes, 64 * MIB));
  t.is(pooledBytes, 0);
  t.deepEqual(unmapped, {});
  for (const socket of sockets) socket.destroy();
  await until('no byte is in flight', async () => (await child.stats()).mappedBytes === 0);
});

test.serial('128 streams of 4 MiB each on one connection complete', async (t) => {
  const directory = await temporaryDirectory(t);
  const expected = writePattern(directory, 'file', 4 * MIB, 1);
  for (const only of [undefined, 'copied', 'read'] as const) {
    const child = await ChildServer.start(t, { kind: 'h2c', directory, only });
    const session = http2.connect(`http://127.0.0.1:${child.server.port}`);
    const failures: unknown[] = [];
    session.on('error', (error) => failures.push(error));
    await Promise.all(
      Array.from({ length: 128 }, async (_, index) => {
        const stream = session.request({ ':path': '/file' });
        const chunks: Buffer[] = [];
        stream.on('error', (error) => failures.push(error)).on('data', (chunk: Buffer) => chunks.push(chunk));
        await once(stream, 'close');
        assertBytes(t, Buffer.concat(chunks), expected, `stream ${index}`);
      }),
    );
    t.deepEqual(failures, []);
    session.close();
    // A client has the last byte before the server is notified that it was sent.
    await until('all responses have ended', async () => {
      const { responses, mappedBytes, pooledBytes } = await child.stats();
      return responses[200] === 128 && mappedBytes + pooledBytes === 0;
    });
    t.deepEqual((await child.stats()).responses, { 200: 128 });
  }
});
