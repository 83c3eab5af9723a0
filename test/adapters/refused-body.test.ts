import { Readable } from 'node:stream';
import { setInterval } from 'node:timers/promises';
import test from 'ava';
import { linger } from '../../src/adapters/linger.js';
import type { Store } from '../../src/contract/store.js';
import { open } from '../behaviour/site.js';
import { Frames } from '../helpers/frames.js';
import { until } from '../helpers/poll.js';
import { RawConnection } from '../helpers/raw.js';

// If the handler responds before the request body has arrived, the client receives the whole response before RST_STREAM.

const store: Store = {
  get: () => Promise.reject(new Error('broken')),
  put: () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' })),
};

for (const kind of ['h2c', 'h2c-compat', 'h2', 'port-h2c'] as const) {
  for (const method of ['HEAD', 'GET', 'PUT', 'POST']) {
    test(`${kind}: the response to an unfinished ${method} request arrives before the reset`, async (t) => {
      const { server } = await open(t, kind, { store });
      const client = await Frames.connect(t, server);
      const stream = client.stream(1);
      client.begin(1, method, '/key');
      await until('the request is reset', () => stream.resetCode !== undefined);
      t.is(stream.resetCode, 0);
      t.true(stream.hasHeaders && stream.isEnded);
      t.is(stream.body.byteLength === 0, method === 'HEAD');
    });
  }
}

for (const kind of ['h2c', 'h2c-compat', 'port-h2c'] as const) {
  test(`${kind}: the reset waits until the client has received the response`, async (t) => {
    const { server } = await open(t, kind, { store });
    const client = await Frames.connect(t, server);
    client.isHoldingPings = true;
    const stream = client.stream(1);
    client.begin(1, 'PUT', '/key');
    await until('the upload is answered', () => stream.isEnded);
    client.get(3, '/key');
    await until('a later request is answered', () => client.stream(3).isEnded);
    t.is(stream.resetCode, undefined);
    client.answerPings();
    await until('the upload is reset', () => stream.resetCode !== undefined);
    t.is(stream.resetCode, 0);
  });
}

for (const kind of ['http', 'https', 'express-http', 'port-http', 'port-https'] as const) {
  test(`${kind}: a client that reads after it has sent everything receives the response to a refused upload`, async (t) => {
    const { server } = await open(t, kind, { store, maxUploadBytes: 1000 });
    const connection = await RawConnection.open(t, server);
    const chunk = Buffer.alloc(500_000);
    connection.pause();
    connection.write(`PUT /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${40 * chunk.length}\r\n\r\n`);
    let sent = 0;
    // As slow as a real client: the response was sent at once, and the upload takes two seconds.
    for await (const _tick of setInterval(50)) {
      connection.write(chunk);
      if (++sent === 40) break;
    }
    connection.resume();
    t.regex(await connection.closed(), /^HTTP\/1\.1 413 /);
    t.is(connection.error, undefined);
  });
}

test('a refused body is read up to a limit', async (t) => {
  const chunk = Buffer.alloc(1024 * 1024);
  let read = 0;
  const body = new Readable({
    read() {
      read += chunk.byteLength;
      this.push(chunk);
    },
  });
  t.false(await new Promise((resolve) => linger(body, resolve)));
  t.true(read >= 256 * chunk.byteLength && read < 300 * chunk.byteLength);
  body.destroy();
  t.true(await new Promise((resolve) => linger(Readable.from([chunk], { objectMode: false }), resolve)));
});
