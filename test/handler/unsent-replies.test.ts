import test, { type ExecutionContext } from 'ava';
import { createHandler } from '../../src/handler/handler.js';
import type { Protocol } from '../../src/protocols/protocol.js';
import { FakeExchange } from '../helpers/exchange.js';
import { MIB } from '../helpers/files.js';
import { until } from '../helpers/poll.js';

/** Answers `/<number of bytes>` with so many bytes. */
const sized: Protocol = {
  name: 'sized',
  route: ({ path }) => ({
    kind: 'answer',
    needs: 'none',
    answer: () => ({ status: 200, body: { contentType: 'text/plain', text: 'x'.repeat(Number(path.slice(1))) } }),
  }),
};

/** Exchange on a connection that it shares with others. */
class SharedExchange extends FakeExchange {
  override readonly multiplexed = true;
  override readonly connection: object;

  constructor(url: string, connection: object) {
    super(url);
    this.connection = connection;
  }
}

/** Creates a handler, and returns a function that requests a reply of a number of bytes on a connection. */
function createAsk(t: ExecutionContext) {
  const handler = createHandler({ store: { get: () => undefined }, protocols: [sized] });
  t.teardown(() => handler.close());
  return async (bytes: number, connection: object): Promise<SharedExchange> => {
    const exchange = new SharedExchange(`/${bytes}`, connection);
    await handler.handle(exchange);
    return exchange;
  };
}

test.serial('unsent replies take at most 8 MiB for each connection, and 64 MiB in total', async (t) => {
  const ask = createAsk(t);
  const connections = Array.from({ length: 9 }, () => ({}));
  const held: SharedExchange[] = [];
  for (const connection of connections.slice(0, 8)) {
    for (let count = 0; count < 8; count++) held.push(await ask(MIB, connection));
    t.is((await ask(5000, connection)).status, 503, 'the limit of the connection');
    t.is((await ask(1000, connection)).status, 200, 'a small reply');
  }
  t.true(held.every(({ status }) => status === 200));
  t.is((await ask(5000, connections[8] ?? {})).status, 503, 'the limit of the process');
  const [first, second] = held;
  first?.leave();
  second?.leave();
  await until('their memory is free', async () => (await ask(5000, connections[8] ?? {})).status === 200);
  for (const exchange of held) exchange.leave();
});

test.serial('a reply above 8 MiB is sent on a connection without unsent replies', async (t) => {
  const ask = createAsk(t);
  const connection = {};
  const large = await ask(9 * MIB, connection);
  t.is(large.status, 200);
  t.is((await ask(5000, connection)).status, 503, 'the limit of the connection');
  large.leave();
  await until('its memory is free', async () => {
    const next = await ask(5000, connection);
    next.leave();
    return next.status === 200;
  });
  const first = await ask(5000, connection);
  t.is((await ask(9 * MIB, connection)).status, 503, 'beside an unsent reply');
  first.leave();
});
