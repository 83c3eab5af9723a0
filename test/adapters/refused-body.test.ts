import { Readable } from 'node:stream';
import { setInterval } from 'node:timers/promises';
import test from 'ava';
import { linger } from '../../src/adapters/linger.js';
import type { Store } from '../../src/contract/store.js';
import { plain } from '../../src/protocols/plain.js';
import type { Protocol } from '../../src/protocols/protocol.js';
import { memoryStore } from '../../src/stores/memory.js';
import { open } from '../behaviour/site.js';
import { MIB } from '../helpers/files.js';
import { Frames } from '../helpers/frames.js';
import { until } from '../helpers/poll.js';
import { RawConnection } from '../helpers/raw.js';
import type { Middleware } from '../helpers/servers.js';

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

/** Middleware that replaces `write` and `end`, like compression. */
const replaceWrite: Middleware = (_request, response, next) => {
  const { write, end } = response;
  response.write = (...args: unknown[]) => Reflect.apply(write, response, args);
  response.end = (...args: unknown[]) => Reflect.apply(end, response, args);
  next();
};

for (const kind of ['http', 'express-http', 'koa-http'] as const) {
  test(`${kind}: behind a replaced write, too, the rest of a refused upload is read`, async (t) => {
    const { server } = await open(t, kind, { store, maxUploadBytes: 1000 }, { before: replaceWrite });
    const connection = await RawConnection.open(t, server);
    const chunk = Buffer.alloc(500_000);
    connection.write(`PUT /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${10 * chunk.length}\r\n\r\n`);
    await connection.until(/^HTTP\/1\.1 413 [\s\S]*\r\n\r\n/);
    for (let sent = 0; sent < 10; sent++) connection.write(chunk);
    await connection.closed();
    t.is(connection.error, undefined);
  });
}

/** Protocol that stores a key of its own, and reads only the beginning of the request body. */
const impatient: Protocol = {
  name: 'impatient',
  route: ({ method }) =>
    method !== 'POST'
      ? undefined
      : {
          kind: 'answer',
          needs: 'write',
          async answer(artifacts) {
            for await (const chunk of artifacts.body(MIB)) return { status: chunk.length > 0 ? 200 : 500 };
            return { status: 500 };
          },
        },
};

/** Store that has seen enough before the body ends. */
const hasty: Store = { get: () => undefined, put: async () => ({ created: true }) };

for (const method of ['PUT', 'POST']) {
  test(`http: the connection of a successful ${method} whose body was not read is closed`, async (t) => {
    const { server } = await open(t, 'http', { store: hasty, protocols: [impatient, plain()] });
    const connection = await RawConnection.open(t, server);
    connection.write(`${method} /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc`);
    t.regex(await connection.until(/\r\n\r\n/), /^HTTP\/1\.1 200 [\s\S]*\r\nconnection: close\r\n/i);
    connection.write(Buffer.alloc(997));
    await connection.closed();
    t.is(connection.error, undefined);
  });

  test(`h2c: the stream of a successful ${method} whose body was not read is reset with NO_ERROR`, async (t) => {
    const { server } = await open(t, 'h2c', { store: hasty, protocols: [impatient, plain()] });
    const client = await Frames.connect(t, server);
    const stream = client.stream(1);
    client.begin(1, method, '/key');
    client.data(1, 3);
    await until('the request is reset', () => stream.resetCode !== undefined);
    t.is(stream.resetCode, 0);
    t.true(stream.hasHeaders && stream.isEnded);
  });
}

test('http: a connection is kept if the store has read the whole body', async (t) => {
  const { server } = await open(t, 'http', { store: memoryStore() });
  const connection = await RawConnection.open(t, server);
  connection.write('PUT /key HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc');
  t.notRegex(await connection.until(/\r\n\r\n/), /connection: close/i);
});

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
