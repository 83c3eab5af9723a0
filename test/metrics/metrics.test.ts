import test from 'ava';
import { Counter, Registry } from 'prom-client';
import type { StoreStats } from '../../src/contract/store.js';
import { createHandler } from '../../src/handler/handler.js';
import { createMetrics, type MetricsOptions } from '../../src/metrics/index.js';
import { memoryStore } from '../../src/stores/memory.js';
import { open } from '../behaviour/site.js';
import { MIB } from '../helpers/files.js';
import { until } from '../helpers/poll.js';
import { openPort } from '../server/fixture.js';
import { content } from '../stores/fixture.js';
import { parseMetrics } from './text.js';

test('exports the statistics of a handler', async (t) => {
  const store = memoryStore();
  const { ask, handler } = await open(t, 'h2c', { store });
  const metrics = createMetrics({ handlers: { cache: handler } });
  t.is(metrics.contentType, 'text/plain; version=0.0.4; charset=utf-8');
  await ask('PUT', '/key', { body: content(2 * MIB) });
  await ask('GET', '/key');
  await ask('GET', '/key', { headers: { range: 'bytes=0-9' } });
  await ask('GET', '/missing');
  await until('all responses have ended', () => handler.stats().active === 0);
  const series = parseMetrics(await metrics.text());
  const value = (name: string): number | undefined => series.get(name);
  const common = 'handler="cache",protocol="plain"';
  t.is(value(`hotblob_responses_total{${common},operation="upload",status="200",source="none"}`), 1);
  t.is(value(`hotblob_responses_total{${common},operation="read",status="200",source="bytes"}`), 1);
  t.is(value(`hotblob_responses_total{${common},operation="read",status="206",source="bytes"}`), 1);
  t.is(value(`hotblob_responses_total{${common},operation="read",status="404",source="none"}`), 1);
  t.is(value('hotblob_lookups_total{handler="cache",result="hit"}'), 2);
  t.is(value('hotblob_lookups_total{handler="cache",result="miss"}'), 1);
  t.is(value('hotblob_sent_bytes_total{handler="cache",source="bytes"}'), 2 * MIB + 10);
  t.is(value('hotblob_active_responses{handler="cache"}'), 0);
  t.is(value('hotblob_memory_pressure{handler="cache",level="normal"}'), handler.stats().pressure === 'normal' ? 1 : 0);
  t.is(value('hotblob_pool_limit_bytes{handler="cache"}'), handler.stats().maxPooledBytes);
  for (const [size, count] of [
    ['64KiB', 1],
    ['1MiB', 0],
    ['16MiB', 1],
    ['+Inf', 0],
  ] as const) {
    const labels = `handler="cache",size="${size}"`;
    t.is(value(`hotblob_download_duration_seconds_bucket{${labels},le="+Inf"}`), count, size);
    t.is(value(`hotblob_download_duration_seconds_count{${labels}}`), count);
    t.is(value(`hotblob_first_byte_seconds_count{${labels}}`), count);
  }
  const buckets = [...series].filter(([name]) => /^hotblob_first_byte_seconds_bucket\{.*size="64KiB"/.test(name));
  const counts = buckets.map(([, count]) => count);
  t.deepEqual(
    counts,
    counts.toSorted((a, b) => a - b),
    'buckets are cumulative',
  );
});

test('labels distinguish several handlers, and metrics of the host are kept', async (t) => {
  const register = new Registry();
  new Counter({ name: 'host_total', help: 'a metric of the host', registers: [register] }).inc(7);
  const handlers = { one: createHandler({ store: memoryStore() }), two: createHandler({ store: memoryStore() }) };
  t.teardown(() => {
    for (const handler of Object.values(handlers)) handler.close();
  });
  const { server, session } = await openPort(t, (_request, response) => void response.end());
  await session();
  const metrics = createMetrics({ handlers, servers: { main: server }, register });
  t.is(metrics.register, register);
  const series = parseMetrics(await metrics.text());
  t.is(series.get('host_total'), 7);
  t.is(series.get('hotblob_open_files{handler="one"}'), 0);
  t.is(series.get('hotblob_open_files{handler="two"}'), 0);
  t.is(series.get('hotblob_connections{server="main",protocol="http2"}'), 1);
  t.is(series.get('hotblob_cut_off_total{server="main",reason="resets"}'), 0);
  t.throws(() => createMetrics({ handlers, register }), { message: /already been registered/ });
});

test('exports only the metrics for which a store has values', async (t) => {
  const full: StoreStats = {
    artifacts: 1,
    bytes: 2,
    maxBytes: 3,
    evicted: 4,
    corrupt: 10,
    remote: 'half-open',
    flights: 5,
    rememberedMisses: 6,
    queued: 7,
    dropped: 8,
    unreplicated: 9,
    requests: [{ operation: 'get', outcome: 'missing', count: 9 }],
    latency: { counts: [...new Array(16).fill(0), 2], sum: 200 },
  };
  const stores = { full: { stats: () => full }, partial: { stats: () => ({ evicted: 1 }) }, none: {} };
  const series = parseMetrics(await createMetrics({ stores }).text());
  const found = [...series].filter(([name]) => !name.includes('_bucket')).map(([name, value]) => `${name} ${value}`);
  t.deepEqual(found, [
    'hotblob_store_artifacts{store="full"} 1',
    'hotblob_store_bytes{store="full"} 2',
    'hotblob_store_limit_bytes{store="full"} 3',
    'hotblob_store_evicted_total{store="full"} 4',
    'hotblob_store_evicted_total{store="partial"} 1',
    'hotblob_store_corrupt_total{store="full"} 10',
    'hotblob_store_remote{store="full",state="closed"} 0',
    'hotblob_store_remote{store="full",state="half-open"} 1',
    'hotblob_store_remote{store="full",state="open"} 0',
    'hotblob_store_flights{store="full"} 5',
    'hotblob_store_remembered_misses{store="full"} 6',
    'hotblob_store_queued{store="full"} 7',
    'hotblob_store_dropped_total{store="full"} 8',
    'hotblob_store_unreplicated_total{store="full"} 9',
    'hotblob_upstream_requests_total{store="full",operation="get",outcome="missing"} 9',
    'hotblob_upstream_latency_seconds_sum{store="full"} 200',
    'hotblob_upstream_latency_seconds_count{store="full"} 2',
  ]);
});

test('each scrape calls stats() once', async (t) => {
  let calls = 0;
  const handler = createHandler({ store: memoryStore() });
  t.teardown(() => handler.close());
  const source = {
    stats: () => {
      calls++;
      return handler.stats();
    },
  };
  const metrics = createMetrics({ handlers: { cache: source } });
  await metrics.text();
  t.is(calls, 1);
  await metrics.text();
  t.is(calls, 2);
});

test('supports OpenMetrics and aggregation, and resetting a registry does not reset the counters', async (t) => {
  const { ask, handler } = await open(t, 'http', { store: memoryStore() });
  await ask('GET', '/missing');
  await until('the response has ended', () => handler.stats().active === 0);
  const register = new Registry();
  const metrics = createMetrics({ handlers: { cache: handler }, register });
  const labels = 'handler="cache",result="miss"';
  const json = await register.getMetricsAsJSON();
  t.like(
    json.find(({ name }) => name === 'hotblob_lookups_total'),
    { type: 'counter', aggregator: 'sum' },
  );
  register.resetMetrics();
  t.is(parseMetrics(await metrics.text()).get(`hotblob_lookups_total{${labels}}`), 1, 'the counter is not reset');
  register.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
  const text = await metrics.text();
  t.true(text.endsWith('# EOF\n'));
  t.true(text.includes('# TYPE hotblob_lookups counter\n'));
  t.is(parseMetrics(text).get(`hotblob_lookups_total{${labels}}`), 1);
});

test('refuses invalid options', (t) => {
  const cases: [object, RegExp][] = [
    [{ handler: {} }, /^unknown option 'handler'; expected one of handlers, servers, stores, processes, register/],
    [{ handlers: { cache: {} } }, /^handlers\.cache: expected an object with a stats\(\) method, received \{\}$/],
    [
      { servers: { main: undefined } },
      /^servers\.main: expected an object with a stats\(\) method, received undefined$/,
    ],
    [{ stores: 1 }, /^stores: expected an object, received 1$/],
    [{ processes: {} }, /^processes: expected an object with a stats\(\) method, received \{\}$/],
  ];
  for (const [options, message] of cases) {
    t.throws(() => createMetrics(options as MetricsOptions), { code: 'ERR_HOTBLOB_INVALID_OPTION', message });
  }
});
