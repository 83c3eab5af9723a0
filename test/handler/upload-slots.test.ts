import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import net, { type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { HotblobError } from '../../src/contract/errors.js';
import type { Exchange } from '../../src/contract/exchange.js';
import type { Store } from '../../src/contract/store.js';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import { RESPONSE_CHANNEL, type ResponseReport } from '../../src/handler/response-record.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { temporaryDirectory } from '../helpers/files.js';
import { until } from '../helpers/poll.js';
import { RawConnection } from '../helpers/raw.js';
import { type RunningServer, startServer } from '../helpers/servers.js';

/** There are half as many slots for uploads. */
const MAX_OPEN_FILES = 16;
const SLOTS = MAX_OPEN_FILES / 2;

/** Starts a server whose clients say from which address they come. */
async function start(
  t: ExecutionContext,
  store: Store = memoryStore(),
): Promise<{ handler: Handler; server: RunningServer }> {
  const handler = createHandler({ store, maxOpenFiles: MAX_OPEN_FILES });
  const wrapper = {
    handle(exchange: Exchange) {
      const value = exchange.headers['x-address'];
      if (value !== undefined) Object.defineProperty(exchange, 'remoteAddress', { value });
      return handler.handle(exchange);
    },
    close: () => handler.close(),
  };
  const server = await startServer(t, 'http', wrapper, { continueOnRead: true });
  return { handler, server };
}

/** Begins an upload on a connection of its own. It never ends. */
function hold(t: ExecutionContext, { port }: RunningServer, path: string, address?: string): Socket {
  const socket = net.connect(port, '127.0.0.1').on('error', () => {});
  t.teardown(() => socket.destroy());
  const from = address === undefined ? '' : `X-Address: ${address}\r\n`;
  socket.write(`PUT ${path} HTTP/1.1\r\nHost: localhost\r\n${from}Content-Length: 10\r\n\r\nabc`);
  return socket;
}

/** Sends the headers of an upload with `Expect: 100-continue` on a connection of its own. */
async function expect(t: ExecutionContext, server: RunningServer, path: string): Promise<RawConnection> {
  const connection = await RawConnection.open(t, server);
  connection.write(
    `PUT ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n`,
  );
  return connection;
}

const CONTINUE = /^HTTP\/1\.1 100 Continue\r\n\r\n/;

const used = (handler: Handler): number => handler.stats().openFiles;

test('the connections of one address get half of the slots together', async (t) => {
  const { handler, server } = await start(t);
  const greedy = Array.from({ length: SLOTS }, (_, index) => hold(t, server, `/${index}`, '192.0.2.1'));
  await until('its uploads have begun', () => handler.stats().active === SLOTS);
  await until('half of the slots are in use', () => used(handler) === SLOTS / 2);
  hold(t, server, '/other', '192.0.2.2');
  await until('another address gets one', () => used(handler) === SLOTS / 2 + 1);
  t.is(handler.stats().active, SLOTS + 1);
  for (const socket of greedy) socket.destroy();
  await until('all its slots are free', () => used(handler) === 1);
});

for (const address of [undefined, '127.0.0.1', '::ffff:127.0.0.1', '::1']) {
  test(`the connections of a proxy on this machine get all slots, ${address ?? 'address unknown to the test'}`, async (t) => {
    const { handler, server } = await start(t);
    for (let index = 0; index < SLOTS; index++) hold(t, server, `/${index}`, address);
    await until('all slots are in use', () => used(handler) === SLOTS);
    t.is(handler.stats().active, SLOTS);
  });
}

// Serial, because all handlers of the process share the channel.
test.serial('a client that disconnects while it waits for a slot is not reported as an overload', async (t) => {
  const { handler, server } = await start(t);
  for (let index = 0; index < SLOTS; index++) hold(t, server, `/${index}`);
  await until('all slots are in use', () => used(handler) === SLOTS);
  const reports: ResponseReport[] = [];
  const onReport = (report: unknown): void => {
    const { sender, key } = report as ResponseReport;
    if (sender === handler && key === 'waits') reports.push(report as ResponseReport);
  };
  subscribe(RESPONSE_CHANNEL, onReport);
  t.teardown(() => unsubscribe(RESPONSE_CHANNEL, onReport));
  const socket = hold(t, server, '/waits');
  await until('the upload waits', () => handler.stats().active === SLOTS + 1);
  socket.destroy();
  await until('the upload has ended', () => reports.length === 1);
  t.like(reports[0]?.error, { code: 'ERR_HOTBLOB_CLIENT_GONE' });
});

for (const kind of ['memory', 'directory'] as const) {
  test(`clients that send only headers with Expect: 100-continue hold no slot and no file, ${kind} store`, async (t) => {
    const directory = await temporaryDirectory(t);
    const { handler, server } = await start(t, kind === 'memory' ? memoryStore() : await directoryStore(directory));
    const silent = await Promise.all(Array.from({ length: 2 * SLOTS }, (_, index) => expect(t, server, `/${index}`)));
    await Promise.all(silent.map((connection) => connection.until(CONTINUE)));
    t.is(used(handler), 0);
    if (kind === 'directory') await t.throwsAsync(readdir(`${directory}/.hotblob/uploads`), { code: 'ENOENT' }); // no upload has created it
    const plain = hold(t, server, '/plain');
    plain.write('defghij');
    t.regex(String(await once(plain, 'data')), /^HTTP\/1\.1 200 /);
    const last = await expect(t, server, '/last');
    await last.until(CONTINUE);
    last.write('abc');
    t.regex(await last.closed(), /HTTP\/1\.1 200 OK/);
    for (const connection of silent) connection.write('abc');
    for (const text of await Promise.all(silent.map((connection) => connection.closed()))) t.regex(text, / 200 OK/);
    t.is(used(handler), 0);
  });
}

test('while few uploads wait for 100 Continue, a store refuses them before their bodies are sent', async (t) => {
  const full = new HotblobError('ERR_HOTBLOB_STORAGE_FULL', 'full');
  let refuses = false;
  const memory = memoryStore();
  const store: Store = {
    get: (key) => memory.get(key),
    put: async (key, body, options) => {
      if (refuses) throw full;
      return memory.put(key, body, options);
    },
  };
  const { handler, server } = await start(t, store);
  const silent = await Promise.all(Array.from({ length: SLOTS }, (_, index) => expect(t, server, `/${index}`)));
  await Promise.all(silent.map((connection) => connection.until(CONTINUE)));
  refuses = true;
  // Half of the slots may be used like this, and all are: the client is asked for the body first.
  const late = await expect(t, server, '/late');
  await late.until(CONTINUE);
  late.write('abc');
  t.regex(await late.closed(), /HTTP\/1\.1 507 /);
  for (const connection of silent) connection.destroy();
  await until('they are over', () => handler.stats().active === 0);
  const early = await expect(t, server, '/early');
  t.regex(await early.until(/ 507 /), /^HTTP\/1\.1 507 /);
  t.is(used(handler), 0);
});

test('an upload that the store ends while it waits for a slot takes none afterwards', async (t) => {
  const memory = memoryStore();
  const controller = new AbortController();
  const store: Store = {
    get: (key) => memory.get(key),
    put: (key, body, options) =>
      key === 'ends'
        ? new Promise((_resolve, reject) => {
            body.resume();
            controller.signal.addEventListener('abort', () => reject(new Error('ended by the store')));
          })
        : memory.put(key, body, options),
  };
  const { handler, server } = await start(t, store);
  const ends = await expect(t, server, '/ends');
  await ends.until(CONTINUE);
  const holding = Array.from({ length: SLOTS }, (_, index) => hold(t, server, `/${index}`));
  await until('all slots are in use', () => used(handler) === SLOTS);
  ends.write('abc');
  controller.abort();
  t.regex(await ends.closed(), /HTTP\/1\.1 500 /);
  for (const socket of holding) socket.destroy();
  await until('no slot is in use', () => used(handler) === 0 && handler.stats().active === 0);
});
