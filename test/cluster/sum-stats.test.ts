import test from 'ava';
import fc from 'fast-check';
import { countersOf, type NamedStats, sumStats } from '../../src/cluster/sum-stats.js';
import type { StoreStats } from '../../src/contract/store.js';
import type { HandlerStats } from '../../src/handler/stats.js';
import type { ServerStats } from '../../src/server/stats.js';

const count = fc.nat(1_000_000);
const counts = <Name extends string>(...names: Name[]) =>
  // The record has the given names.
  fc.record(Object.fromEntries(names.map((name) => [name, count]))) as fc.Arbitrary<Record<Name, number>>;
const maybeCount = fc.option(count, { nil: undefined });
const histogram = fc.record({ counts: fc.tuple(count, count, count), sum: count });
const sent = fc.record({ windows: count, bytes: count });

const handlers: fc.Arbitrary<HandlerStats> = fc.record({
  responses: fc.dictionary(fc.constantFrom('200', '404', '503'), count),
  responseCounts: fc.uniqueArray(
    fc.record({
      protocol: fc.constantFrom('plain', 'nx'),
      operation: fc.constantFrom('read' as const, 'upload' as const),
      status: fc.constantFrom(200, 404),
      failure: fc.constantFrom(undefined, 500),
      source: fc.constantFrom('mapped' as const, 'none' as const),
      count,
    }),
    { selector: ({ count: _, ...key }) => JSON.stringify(key) },
  ),
  active: count,
  hits: count,
  misses: count,
  writers: fc.uniqueArray(
    fc.record({ subject: fc.constantFrom('a', 'b'), scope: fc.constantFrom('main', 'pr'), count }),
    {
      selector: ({ subject, scope }) => `${scope} ${subject}`,
    },
  ),
  traffic: fc.uniqueArray(
    fc.record({
      protocol: fc.constantFrom('gradle', 'nx'),
      namespace: fc.constantFrom(undefined, 'team'),
      responses: count,
      errors: count,
      sentBytes: count,
      receivedBytes: count,
    }),
    { selector: ({ protocol, namespace }) => `${protocol} ${namespace}` },
  ),
  receivedBytes: count,
  latency: fc.tuple(
    fc.record({ maxBytes: fc.constant(65_536), firstByte: histogram, duration: histogram }),
    fc.record({ maxBytes: fc.constant(Number.POSITIVE_INFINITY), firstByte: histogram, duration: histogram }),
  ),
  sent: fc.record({ bytes: sent, mapped: sent, copied: sent, read: sent, stream: sent }),
  unmapped: fc.dictionary(fc.constantFrom('small', 'tls'), count),
  mapper: fc.constantFrom(undefined, 'libc' as const),
  copiesResident: fc.boolean(),
  openFiles: count,
  maxOpenFiles: count,
  mappings: count,
  mappedBytes: count,
  maxMappedBytes: count,
  pooledBytes: count,
  idlePooledBytes: count,
  maxPooledBytes: count,
  waitingForBuffers: count,
  pressure: fc.constantFrom('normal' as const, 'constrained' as const, 'critical' as const),
  memory: fc.record({
    usedBytes: maybeCount,
    limitBytes: maybeCount,
    softBytes: maybeCount,
    hardBytes: maybeCount,
    headroomBytes: count,
    sensor: fc.constant('meminfo'),
  }),
});

const servers: fc.Arbitrary<ServerStats> = fc.record({
  connections: counts('unknown', 'http1', 'http2'),
  accepted: counts('http1', 'http2'),
  maxConnections: count,
  refused: count,
  streams: count,
  openStreams: count,
  resets: count,
  drained: counts('http1', 'http2'),
  terminated: counts('preface', 'evicted', 'stalled', 'ping', 'grace', 'resets', 'controls'),
});

const stores: fc.Arbitrary<StoreStats> = fc.record({
  artifacts: maybeCount,
  bytes: maybeCount,
  evicted: maybeCount,
  remote: fc.constantFrom(undefined, 'closed' as const, 'half-open' as const, 'open' as const),
  requests: fc.option(
    fc.uniqueArray(
      fc.record({
        operation: fc.constantFrom('get' as const, 'put' as const),
        outcome: fc.constant('ok' as const),
        count,
      }),
      { selector: ({ operation }) => operation },
    ),
    { nil: undefined },
  ),
  latency: fc.option(histogram, { nil: undefined }),
});

const named = <Stats>(stats: fc.Arbitrary<Stats>) => fc.dictionary(fc.constantFrom('main', 'other'), stats);
const snapshots: fc.Arbitrary<NamedStats> = fc.record({
  handlers: named(handlers),
  servers: named(servers),
  stores: named(stores),
});

const NOTHING: NamedStats = { handlers: {}, servers: {}, stores: {} };

/** Returns a form in which the order of groups and members does not matter, and missing groups count as 0. */
function normalized(value: unknown): unknown {
  if (Array.isArray(value)) {
    const items = value.map(normalized);
    const isGroups = items.some(
      (item) => typeof item === 'object' && item !== null && ('count' in item || 'responses' in item),
    );
    return isGroups ? items.map((item) => JSON.stringify(item)).sort() : items;
  }
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(entries.map(([name, member]) => [name, normalized(member)] as const).sort());
}

const same = (a: NamedStats, b: NamedStats): boolean => JSON.stringify(normalized(a)) === JSON.stringify(normalized(b));

test('the sum does not depend on the order of the processes, nor on how they are grouped', (t) => {
  fc.assert(
    fc.property(snapshots, snapshots, snapshots, (a, b, c) => {
      t.true(same(sumStats([a, b]), sumStats([b, a])));
      t.true(same(sumStats([a, b, c]), sumStats([sumStats([a, b]), c])));
      t.true(same(sumStats([a]), a));
      t.true(same(sumStats([NOTHING, a, NOTHING]), a));
    }),
  );
  t.pass();
});

test('numbers of requests, bytes and connections are added, also in histograms', (t) => {
  fc.assert(
    fc.property(handlers, handlers, servers, servers, (a, b, c, d) => {
      const sum = sumStats([
        { handlers: { main: a }, servers: { main: c }, stores: {} },
        { handlers: { main: b }, servers: { main: d }, stores: {} },
      ]);
      const { main: handler } = sum.handlers;
      const { main: server } = sum.servers;
      for (const name of ['hits', 'misses', 'active', 'maxPooledBytes', 'maxOpenFiles'] as const) {
        t.is(handler?.[name], a[name] + b[name]);
      }
      for (const status of [200, 404, 503]) {
        t.is(handler?.responses[status] ?? 0, (a.responses[status] ?? 0) + (b.responses[status] ?? 0));
      }
      const total = ({ responseCounts }: HandlerStats) => responseCounts.reduce((all, each) => all + each.count, 0);
      t.is(handler && total(handler), total(a) + total(b));
      t.is(handler?.sent.mapped.bytes, a.sent.mapped.bytes + b.sent.mapped.bytes);
      const [small] = handler?.latency ?? [];
      t.is(
        small?.firstByte.counts[1],
        (a.latency[0]?.firstByte.counts[1] ?? 0) + (b.latency[0]?.firstByte.counts[1] ?? 0),
      );
      t.is(server?.accepted.http2, c.accepted.http2 + d.accepted.http2);
      t.is(server?.terminated.ping, c.terminated.ping + d.terminated.ping);
      t.is(server?.maxConnections, c.maxConnections + d.maxConnections);
    }),
  );
});

/** Returns the counters, which only grow. */
const countersIn = ({ handlers: h, servers: s, stores: r }: NamedStats) => ({
  handlers: Object.entries(h).map(([name, { responses, responseCounts, hits, misses, latency, sent, unmapped }]) => [
    name,
    { responses, responseCounts, hits, misses, latency, sent, unmapped },
  ]),
  servers: Object.entries(s).map(([name, { connections, maxConnections, openStreams, ...rest }]) => [name, rest]),
  stores: Object.entries(r).map(([name, { evicted, requests, latency }]) => [name, { evicted, requests, latency }]),
});

test('when a process ends, the counters of the sum remain, and it no longer uses anything', (t) => {
  fc.assert(
    fc.property(snapshots, snapshots, (alive, ended) => {
      const before = sumStats([alive, ended]);
      const after = sumStats([alive, countersOf(ended)]);
      t.deepEqual(normalized(countersIn(after)), normalized(countersIn(before)));
      for (const [name, { active, maxPooledBytes, pressure, memory }] of Object.entries(after.handlers)) {
        const own = alive.handlers[name];
        t.is(active, own?.active ?? 0);
        t.is(maxPooledBytes, own?.maxPooledBytes ?? 0);
        t.is(pressure, own?.pressure ?? 'normal');
        t.is(memory.usedBytes, own?.memory.usedBytes);
      }
      for (const [name, { connections, openStreams }] of Object.entries(after.servers)) {
        t.is(connections.http1, alive.servers[name]?.connections.http1 ?? 0);
        t.is(openStreams, alive.servers[name]?.openStreams ?? 0);
      }
      for (const [name, { artifacts }] of Object.entries(after.stores)) {
        t.is(artifacts, alive.stores[name]?.artifacts);
      }
    }),
  );
});

test('values that all processes share are not added', (t) => {
  const stats = (store: StoreStats): NamedStats => ({ ...NOTHING, stores: { main: store } });
  const sum = sumStats([
    stats({ artifacts: 10, bytes: 500, maxBytes: 1000, evicted: 3, remote: 'closed' }),
    stats({ artifacts: 9, bytes: 600, maxBytes: 1000, evicted: 4, remote: 'half-open' }),
  ]);
  t.deepEqual(sum.stores['main'], { artifacts: 10, bytes: 600, maxBytes: 1000, evicted: 7, remote: 'half-open' });
});
