import http2 from 'node:http2';
import test, { type ExecutionContext } from 'ava';
import { createHandler } from '../../src/handler/handler.js';
import { turborepo } from '../../src/protocols/index.js';
import { request } from '../helpers/client.js';
import { settled, until } from '../helpers/poll.js';
import { type RunningServer, startServer } from '../helpers/servers.js';

/** Body of an artifact query of about 20 KiB, whose lookups tell it from others. */
function query(name: string, hashes = 200): Buffer {
  return Buffer.from(
    JSON.stringify({ hashes: Array.from({ length: hashes }, (_, i) => `${name}-${i}-${'x'.repeat(100)}`) }),
  );
}

/** Starts a server whose lookups wait for `open`. `started` has the names of the queries that have begun. */
async function startGated(t: ExecutionContext) {
  const started = new Set<string>();
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const get = async (key: string): Promise<undefined> => {
    started.add(key.split('/').at(-1)?.split('-')[0] ?? '');
    await opened;
  };
  const handler = createHandler({ store: { get }, protocols: [turborepo()] });
  t.teardown(() => handler.close());
  return { server: await startServer(t, 'h2c', handler), started, open, handler };
}

const ask = (server: RunningServer, body: Buffer) => request(server, { method: 'POST', path: '/v8/artifacts', body });

test('a connection reads at most eight large bodies into memory at once, and small ones do not wait', async (t) => {
  const { server, started, open } = await startGated(t);
  const responses = Array.from({ length: 20 }, (_, index) => ask(server, query(`large${index}`)));
  await settled(() => started.size);
  t.is(started.size, 8);
  const small = ask(server, query('small', 2));
  await until('the small query has begun', () => started.has('small'));
  // Another connection gets half of the places that are left.
  const others = Array.from({ length: 20 }, (_, index) => ask({ ...server }, query(`other${index}`)));
  await until('another connection has begun', () => [...started].some((name) => name.startsWith('other')));
  open();
  for (const { status } of await Promise.all([...responses, ...others, small])) t.is(status, 200);
});

test('the place of a large body is free when the client has received the response or has reset the stream', async (t) => {
  const { server, started, open } = await startGated(t);
  open();
  const session = http2.connect(`http://127.0.0.1:${server.port}`, { settings: { initialWindowSize: 0 } });
  t.teardown(() => session.destroy());
  const start = (name: string) => {
    const stream = session.request({ ':method': 'POST', ':path': '/v8/artifacts' });
    stream.on('error', () => {}).end(query(name));
    return stream;
  };
  const streams = Array.from({ length: 8 }, (_, index) => start(`unread${index}`));
  await Promise.all(streams.map((stream) => new Promise((resolve) => stream.once('response', resolve))));
  start('waiting');
  await settled(() => started.size);
  t.false(started.has('waiting'));
  streams[0]?.close(http2.constants.NGHTTP2_CANCEL);
  await until('the next query has begun', () => started.has('waiting'));
});

test('a large body that gets no place within five seconds is answered with 503', async (t) => {
  const { server, open } = await startGated(t);
  const responses = Array.from({ length: 9 }, (_, index) => ask(server, query(`large${index}`)));
  const { status, headers } = await Promise.race(responses);
  t.is(status, 503);
  t.regex(String(headers['retry-after']), /^(?:[1-9]|10)$/);
  open();
  const statuses = (await Promise.all(responses)).map((response) => response.status);
  t.deepEqual(statuses.sort(), [...Array.from({ length: 8 }, () => 200), 503]);
});
