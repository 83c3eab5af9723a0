import { Socket } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import { ConnectionsByAddress } from '../../src/server/connections-by-address.js';
import type { ServerConnection } from '../../src/server/server-connection.js';

type State = 'idle' | 'waiting' | 'busy';

let examined = 0;

/** Connection that is not connected to a client, and counts how often it is examined. */
class FakeConnection implements ServerConnection {
  readonly protocol = 'unknown';
  readonly isDraining = false;
  readonly socket: Socket;
  readonly address: string;
  readonly state: State;

  constructor(address: string, state: State) {
    this.address = address;
    this.state = state;
    this.socket = Object.defineProperty(new Socket(), 'remoteAddress', { value: address });
  }

  get isIdle() {
    examined++;
    return this.state === 'idle';
  }

  get waitingSince() {
    return this.state === 'waiting' ? Number.NEGATIVE_INFINITY : undefined;
  }

  check = () => false;
  drain() {}
  evict() {}
  destroy() {}
}

function add(connections: ConnectionsByAddress, count: number, state: State, address: (index: number) => string) {
  const added = Array.from({ length: count }, (_, index) => new FakeConnection(address(index), state));
  for (const connection of added) connections.set(connection.socket, connection);
  return added;
}

test('the address with the most connections is found behind thousands of other connections', (t) => {
  const connections = new ConnectionsByAddress();
  add(connections, 1500, 'idle', (index) => `10.0.${index >> 8}.${index & 255}`);
  add(connections, 100, 'idle', () => '127.0.0.1');
  const [first, second] = add(connections, 50, 'idle', () => '192.0.2.1');
  add(connections, 49, 'idle', () => '192.0.2.2');
  examined = 0;
  t.is(connections.leastUsed(), first);
  t.is(examined, 1);
  connections.touch(first?.socket ?? new Socket());
  t.is(connections.leastUsed(), second);
});

test('an idle connection is found although many of another address are busy, and the search is short if all are', (t) => {
  const connections = new ConnectionsByAddress();
  add(connections, 2000, 'busy', () => '192.0.2.1');
  const [idle] = add(connections, 1, 'idle', () => '192.0.2.2');
  t.is(connections.leastUsed(), idle);
  connections.delete(idle?.socket ?? new Socket());
  add(connections, 2000, 'busy', (index) => `10.0.${index >> 8}.${index & 255}`);
  examined = 0;
  t.is(connections.leastUsed(), undefined);
  t.true(examined <= 256);
});

test('an idle connection is found although many addresses have many busy connections', (t) => {
  const connections = new ConnectionsByAddress();
  const [idle] = add(connections, 1, 'idle', () => '192.0.2.1');
  const busy = add(connections, 100 * 64, 'busy', (index) => `10.0.0.${index % 100}`);
  for (const { socket } of busy) connections.touch(socket);
  examined = 0;
  t.is(connections.leastUsed(), idle);
  t.true(examined <= 256);
});

test('the chosen connection is the one that a search of all connections would choose', (t) => {
  const addresses = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '127.0.0.1', '::1'];
  const connection = fc.tuple(
    fc.constantFrom(...addresses),
    fc.constantFrom<State[]>('idle', 'waiting', 'busy'),
    fc.constantFrom('keep', 'touch', 'delete', 'replace'),
  );
  fc.assert(
    fc.property(fc.array(connection, { maxLength: 30 }), (specifications) => {
      const connections = new ConnectionsByAddress();
      const all: FakeConnection[] = [];
      for (const [address, state, change] of specifications) {
        const [added] = add(connections, 1, state, () => address);
        if (added !== undefined) all.push(added);
        // Changes the connection in the middle.
        const [changed] = all.splice(all.length >> 1, 1);
        if (changed === undefined) continue;
        if (change === 'delete') connections.delete(changed.socket);
        if (change === 'touch') connections.touch(changed.socket);
        if (change === 'replace') connections.set(changed.socket, changed);
        if (change === 'touch') all.push(changed);
        else if (change !== 'delete') all.splice((all.length + 1) >> 1, 0, changed);
      }
      const shareOf = ({ address }: FakeConnection) =>
        addresses.indexOf(address) > 2 ? 1 : all.filter((each) => each.address === address).length;
      const candidates = ['idle', 'waiting'].map((state) => all.filter((each) => each.state === state));
      const [eligible = []] = candidates.filter(({ length }) => length > 0);
      const share = Math.max(...eligible.map(shareOf));
      const chosen = connections.leastUsed();
      const best = eligible.filter((each) => shareOf(each) === share);
      // Addresses with the same number of connections are equivalent, but of one address the first is chosen.
      t.is(
        chosen,
        best.find(({ address }) => chosen instanceof FakeConnection && address === chosen.address),
      );
      t.is(chosen === undefined, eligible.length === 0);
    }),
  );
});
