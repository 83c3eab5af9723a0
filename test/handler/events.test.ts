import { once } from 'node:events';
import { get } from 'node:http';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import test from 'ava';
import { HotblobError } from '../../src/contract/errors.js';
import type { Store } from '../../src/contract/store.js';
import { createHandler } from '../../src/handler/handler.js';
import { memoryStore } from '../../src/stores/memory.js';
import { request } from '../helpers/client.js';
import { collectEvents } from '../helpers/events.js';
import { until } from '../helpers/poll.js';
import { startServer } from '../helpers/servers.js';

test.serial('a request that fails on the side of the server is published as an event', async (t) => {
  const events = collectEvents(t);
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  const corrupt = new HotblobError('ERR_HOTBLOB_CORRUPT', 'the checksum is wrong');
  const store = {
    get: () => Promise.reject(corrupt),
    put: () => Promise.reject(full),
    delete: () => Promise.reject('not an error\u001b[2J'),
  };
  const server = await startServer(t, 'http', createHandler({ store }));
  await request(server, { method: 'PUT', path: '/a/b', body: Buffer.from('x') });
  await request(server, { path: '/a/b' });
  await request(server, { method: 'DELETE', path: '/a/b' });
  t.deepEqual(events, [
    {
      event: 'upload failed',
      details: 'key a/b, status 507: ENOSPC: no space left on device, write',
      error: full,
    },
    { event: 'download failed', details: 'key a/b, status 500: the checksum is wrong', error: corrupt },
    { event: 'deletion failed', details: 'key a/b, status 500: not an error\\x1b[2J', error: 'not an error\u001b[2J' },
  ]);
});

test.serial('what clients do wrong is no event: misses, wrong digests, disconnections', async (t) => {
  const events = collectEvents(t);
  const server = await startServer(t, 'http', createHandler({ store: memoryStore() }));
  await request(server, { path: '/missing' });
  await request(server, { path: '//' });
  const headers = { 'repr-digest': 'sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:' };
  const refused = await request(server, { method: 'PUT', path: '/key', headers, body: Buffer.from('x') });
  t.is(refused.status, 400);
  const socket = connect(server.port, '127.0.0.1');
  socket.write('PUT /key HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nx');
  await once(socket, 'connect');
  const closed = once(socket, 'close');
  socket.resetAndDestroy();
  await closed;
  // A second request shows that the server has seen the end of the first.
  await request(server, { method: 'PUT', path: '/key', body: Buffer.from('x') });
  t.deepEqual(events, []);
});

/** Store with an artifact of 10 bytes, of which the stream has sent 1. */
function storeOf(stream: Readable): Store {
  return { get: () => ({ kind: 'stream', size: 10, open: async () => stream }) };
}

test.serial('a client that cancels a download is no event, whatever error the store then has', async (t) => {
  const events = collectEvents(t);
  const stream = new Readable({ read: () => {} });
  stream.push('1');
  const handler = createHandler({ store: storeOf(stream) });
  const server = await startServer(t, 'http', handler);
  const response = await new Promise<NodeJS.ReadableStream & { destroy(): void }>((resolve) => {
    get({ port: server.port, path: '/key' }, resolve);
  });
  response.on('error', () => {});
  await once(response, 'data');
  response.destroy();
  await until('the request is over', () => handler.stats().active === 0);
  t.true(stream.destroyed);
  t.deepEqual(events, []);
  t.is(handler.stats().responseCounts[0]?.failure, undefined);
});

test.serial('a download that fails after its headers is an event and counts as a failure', async (t) => {
  const events = collectEvents(t);
  const stream = new Readable({ read: () => {} });
  stream.push('1');
  const handler = createHandler({ store: storeOf(stream) });
  const server = await startServer(t, 'http', handler);
  get({ port: server.port, path: '/key' }, (response) => {
    response.on('error', () => {});
    response.once('data', () => stream.destroy(new Error('the disk failed')));
  });
  await until('the request is over', () => events.length === 1 && handler.stats().active === 0);
  t.like(events[0], { event: 'download failed', details: 'key key, status 500: the disk failed' });
  t.like(handler.stats().responseCounts[0], { status: 200, failure: 500 });
});
