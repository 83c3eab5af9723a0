import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import net, { type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import { RESPONSE_CHANNEL, type ResponseReport } from '../../src/handler/response-record.js';
import { memoryStore } from '../../src/stores/memory.js';
import { until } from '../helpers/poll.js';
import { type RunningServer, startServer } from '../helpers/servers.js';

/** There are half as many slots for uploads. */
const MAX_OPEN_FILES = 16;
const SLOTS = MAX_OPEN_FILES / 2;

/** Starts a server whose clients say from which address they come. */
async function start(t: ExecutionContext): Promise<{ handler: Handler; server: RunningServer }> {
  const handler = createHandler({ store: memoryStore(), maxOpenFiles: MAX_OPEN_FILES });
  const server = await startServer(t, 'http', {
    handle(exchange) {
      const value = exchange.headers['x-address'];
      if (value !== undefined) Object.defineProperty(exchange, 'remoteAddress', { value });
      return handler.handle(exchange);
    },
    close: () => handler.close(),
  });
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
