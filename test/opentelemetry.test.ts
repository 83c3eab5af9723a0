import { context, propagation, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import test, { type ExecutionContext } from 'ava';
import type { Store } from '../src/contract/store.js';
import { traceResponses } from '../src/opentelemetry.js';
import { bazel } from '../src/protocols/bazel/bazel.js';
import { plain } from '../src/protocols/plain.js';
import { memoryStore } from '../src/stores/memory.js';
import { open } from './behaviour/site.js';
import { until } from './helpers/poll.js';
import type { Kind } from './helpers/servers.js';
import { content } from './stores/fixture.js';

const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });

/** Trace and parent of a `traceparent` header (W3C Trace Context). */
const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const PARENT_ID = 'b7ad6b7169203331';

test.before(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator({
    fields: () => ['traceparent'],
    inject: () => {},
    extract: (into, carrier: Record<string, string>) => {
      const [, traceId = '', spanId = ''] = (carrier['traceparent'] ?? '').split('-');
      return traceId === '' ? into : trace.setSpanContext(into, { traceId, spanId, traceFlags: 1, isRemote: true });
    },
  });
});

/** Starts tracing until the end of the test. */
function startTracing(t: ExecutionContext): void {
  exporter.reset();
  const tracing = traceResponses({ tracerProvider: provider });
  t.teardown(() => tracing.stop());
}

async function finishedSpans(count: number): Promise<ReadableSpan[]> {
  await until(`there are ${count} spans`, () => exporter.getFinishedSpans().length >= count);
  return exporter.getFinishedSpans();
}

for (const [kind, scheme, version] of [
  ['http', 'http', '1.1'],
  ['h2c', 'http', '2'],
  ['h2', 'https', '2'],
  ['koa-https', 'https', '1.1'],
] as const satisfies readonly [Kind, string, string][]) {
  test.serial(`${kind}: a response creates a server span, with the parent from the request headers`, async (t) => {
    startTracing(t);
    const { ask, server } = await open(t, kind, { store: memoryStore(), protocols: [bazel(), plain()] });
    await ask('PUT', '/key?token=secret', { body: content(100_000) });
    const startedAt = Date.now();
    const headers = { traceparent: `00-${TRACE_ID}-${PARENT_ID}-01`, 'user-agent': 'bazel/8' };
    await ask('GET', '/key?token=secret', { headers });
    const [upload, download] = await finishedSpans(2);
    assertSpan(t, upload);
    assertSpan(t, download);
    t.is(upload.attributes['hotblob.operation'], 'upload');
    t.is(upload.parentSpanContext, undefined);
    t.is(download.name, 'GET');
    t.is(download.kind, SpanKind.SERVER);
    t.like(download.spanContext(), { traceId: TRACE_ID });
    t.is(download.parentSpanContext?.spanId, PARENT_ID);
    const {
      'hotblob.lookup.duration': lookup,
      'hotblob.first_byte.duration': firstByte,
      ...rest
    } = download.attributes;
    t.deepEqual(rest, {
      'http.request.method': 'GET',
      'url.scheme': scheme,
      'url.path': '/key',
      'server.address': '127.0.0.1',
      'server.port': server.port,
      'network.protocol.name': 'http',
      'network.protocol.version': version,
      'user_agent.original': 'bazel/8',
      'http.response.status_code': 200,
      'http.response.body.size': 100_000,
      'hotblob.operation': 'read',
      'hotblob.protocol': 'plain',
      'hotblob.key': 'key',
      'hotblob.scope': 'default',
      'hotblob.source': 'bytes',
    });
    t.true(Number(lookup) <= Number(firstByte) && Number(firstByte) < 60);
    t.is(download.status.code, SpanStatusCode.UNSET);
    const [start, end] = [download.startTime, download.endTime].map(([seconds, nanos]) => seconds * 1e3 + nanos / 1e6);
    t.true((start ?? 0) >= startedAt - 1000 && (end ?? 0) >= (start ?? 0) && (end ?? 0) <= Date.now() + 1000);
  });
}

test.serial('within an active span, a response creates an internal span', async (t) => {
  startTracing(t);
  const tracer = provider.getTracer('host');
  let outer: Span | undefined;
  const { ask } = await open(
    t,
    'express-http',
    { store: memoryStore() },
    {
      before: (_request, response, next) => {
        outer = tracer.startSpan('host');
        response.on('close', () => outer?.end());
        context.with(trace.setSpan(context.active(), outer), next);
      },
    },
  );
  await ask('PUT', '/key', { body: content(10) });
  const [inner] = await finishedSpans(2);
  assertSpan(t, inner);
  t.is(inner.name, 'hotblob upload');
  t.is(inner.kind, SpanKind.INTERNAL);
  t.is(inner.parentSpanContext?.spanId, outer?.spanContext().spanId);
});

test.serial('the span status is an error for a 5xx response, and unset for a 4xx response', async (t) => {
  startTracing(t);
  const failure = new Error('store failure');
  const store: Store = {
    get: (key) => {
      if (key === 'broken') throw failure;
      return undefined;
    },
  };
  const { ask } = await open(t, 'http', { store });
  await ask('GET', '/broken');
  await ask('GET', '/missing');
  await ask('GET', '/a//b');
  await ask('PROPFIND', '/missing');
  const [broken, missing, bad, other] = await finishedSpans(4);
  for (const span of [broken, missing, bad, other]) assertSpan(t, span);
  t.is(broken?.status.code, SpanStatusCode.ERROR);
  t.is(broken?.attributes['error.type'], '500');
  t.is(broken?.events[0]?.attributes?.['exception.message'], failure.message);
  t.is(missing?.status.code, SpanStatusCode.UNSET);
  t.is(missing?.attributes['error.type'], '404');
  t.is(bad?.status.code, SpanStatusCode.UNSET);
  t.is(bad?.attributes['error.type'], 'ERR_HOTBLOB_INVALID_KEY');
  t.is(other?.name, 'HTTP');
  t.like(other?.attributes, { 'http.request.method': '_OTHER', 'http.request.method_original': 'PROPFIND' });
});

test.serial('stop() ends the creation of spans', async (t) => {
  startTracing(t);
  const { ask, handler } = await open(t, 'http', { store: memoryStore() });
  const tracing = traceResponses({ tracerProvider: provider });
  await ask('GET', '/missing');
  await finishedSpans(2);
  tracing.stop();
  exporter.reset();
  await ask('GET', '/missing');
  await until('the response has ended', () => handler.stats().responses[404] === 2);
  t.is(exporter.getFinishedSpans().length, 1);
  t.throws(() => traceResponses({ tracer: provider } as never), { code: 'ERR_HOTBLOB_INVALID_OPTION' });
});

function assertSpan(t: ExecutionContext, span: ReadableSpan | undefined): asserts span is ReadableSpan {
  t.truthy(span);
}
