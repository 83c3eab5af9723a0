import { once } from 'node:events';
import net from 'node:net';
import { Readable } from 'node:stream';
import tls from 'node:tls';
import test from 'ava';
import { createHandler } from '../../src/handler/handler.js';
import { memoryStore } from '../../src/stores/memory.js';
import { certificate } from '../helpers/certificate.js';
import { MIB } from '../helpers/files.js';
import { settled, until } from '../helpers/poll.js';
import { content } from '../stores/fixture.js';
import { openPort } from './fixture.js';

const LARGE = content(24 * MIB);
const UPLOAD = content(100_000);

for (const secure of [false, true]) {
  test(`accepts a pipelined upload while the previous download is being written, ${secure ? 'TLS' : 'plain'}`, async (t) => {
    const store = memoryStore();
    const handler = createHandler({ store });
    t.teardown(() => handler.close());
    const { port, server } = await openPort(t, handler, { secure });
    const options = { port, host: '127.0.0.1' };
    const raw = net.connect(options);
    t.teardown(() => raw.destroy());
    const socket = secure ? tls.connect({ socket: raw, ca: (await certificate()).cert, servername: 'localhost' }) : raw;
    await once(socket, secure ? 'secureConnect' : 'connect');
    const chunks: Buffer[] = [];
    const received = (): string => Buffer.concat(chunks).toString('latin1');
    let isReading = false;
    socket.on('error', (error) => t.fail(error.message));
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      if (!isReading) socket.pause();
    });
    await store.put('large', Readable.from([LARGE]), { signal: new AbortController().signal });
    socket.write('GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await until(
      'the response has begun, and its client has stopped reading',
      () => received().startsWith('HTTP/1.1 200 ') && socket.isPaused(),
    );
    // Over TLS, headers and body are several records, which the server receives in one read.
    const headers = `PUT /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${UPLOAD.byteLength}\r\n\r\n`;
    socket.write(Buffer.concat([Buffer.from(headers), UPLOAD]));
    await settled(() => server.stats().connections.http1);
    isReading = true;
    socket.resume();
    await once(socket, 'end');
    const all = Buffer.concat(chunks);
    const statuses = all.toString('latin1').match(/HTTP\/1\.1 \d+/g);
    t.deepEqual(statuses, ['HTTP/1.1 200', 'HTTP/1.1 200']);
    t.true(all.includes(LARGE));
    t.true(UPLOAD.equals(store.get('upload')?.bytes ?? Buffer.of()));
  });
}
