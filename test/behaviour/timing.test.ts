import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { createSender } from '../../src/adapters/node.js';
import { memoryStore } from '../../src/stores/memory.js';
import { ALL_KINDS } from '../helpers/servers.js';
import { content } from '../stores/fixture.js';
import { open } from './site.js';

/** W3C Server Timing, 3: names are tokens, durations are in milliseconds. */
const TIMING = /^source;desc=bytes, lookup;dur=(\d+\.\d{3}), first-byte;dur=(\d+\.\d{3})$/;

for (const kind of ALL_KINDS) {
  test(`${kind}: with the option timing, GET of an artifact has a Server-Timing header`, async (t) => {
    const store = memoryStore();
    const timed = await open(t, kind, { store, timing: true });
    const silent = await open(t, kind, { store });
    await timed.ask('PUT', '/key', { body: content(100_000) });
    const { headers } = await timed.ask('GET', '/key');
    const [, lookup, firstByte] = TIMING.exec(String(headers['server-timing'])) ?? [];
    t.true(Number(lookup) >= 0 && Number(lookup) <= Number(firstByte), String(headers['server-timing']));
    for (const [method, path] of [
      ['HEAD', '/key'],
      ['GET', '/missing'],
    ] as const) {
      t.is((await timed.ask(method, path)).headers['server-timing'], undefined);
    }
    t.is((await silent.ask('GET', '/key')).headers['server-timing'], undefined);
  });
}

test('Server-Timing metrics are added after those of the host', async (t) => {
  const { ask } = await open(
    t,
    'express-http',
    { store: memoryStore(), timing: true },
    {
      before: (_request, response, next) => {
        response.setHeader('Server-Timing', 'auth;dur=1');
        next();
      },
    },
  );
  await ask('PUT', '/key', { body: content(10) });
  const { headers } = await ask('GET', '/key');
  t.regex(String(headers['server-timing']), /^auth;dur=1, source;desc=bytes, lookup;dur=.*, first-byte;dur=/);
});

test('a sender adds Server-Timing without a lookup', async (t) => {
  const sender = createSender({ timing: true });
  t.teardown(() => sender.close());
  const server = createServer((request, response) => {
    void sender.send(request, response, { kind: 'bytes', bytes: content(10) });
  }).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  // A server that listens on a port has an AddressInfo.
  const { port } = server.address() as AddressInfo;
  const response = await fetch(`http://127.0.0.1:${port}/`);
  await response.arrayBuffer();
  t.regex(response.headers.get('server-timing') ?? '', /^source;desc=bytes, first-byte;dur=\d+\.\d{3}$/);
});
