import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type * as Api from '@opentelemetry/api';
import { errnoCode, HotblobError } from './contract/errors.js';
import type { Exchange } from './contract/exchange.js';
import { assertOptions, OBJECT } from './contract/validation.js';
import { RESPONSE_CHANNEL, type ResponseReport } from './handler/response-record.js';
import { mainSource } from './send/tally.js';
import { loadOptional } from './util/load-optional.js';
import { printable, printableLines } from './util/printable.js';

/** Options of {@link traceResponses}. */
export interface TracingOptions {
  /** Provider from which the tracer is taken. Default: the global provider, which an OpenTelemetry SDK registers. */
  readonly tracerProvider?: Api.TracerProvider | undefined;
}

/** Tracing of responses, started by {@link traceResponses}. */
export interface Tracing {
  /** Stops creating spans. */
  stop(): void;
}

/** HTTP methods that the semantic conventions list. Any other method is reported as `_OTHER`. */
const METHODS = new Set(['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE', 'QUERY']);

/**
 * Creates an OpenTelemetry span for each response of this process. Attributes follow the semantic conventions for HTTP
 * servers. If another span is active, for example one of a node:http instrumentation, the new span is its internal
 * child, named `hotblob <operation>`. Otherwise the new span is a server span, whose parent is taken from the request
 * headers.
 *
 * A span is created when its response has ended, with the start time of the request. Spans that a store creates are
 * therefore not its children. The query string is not recorded, because it may contain tokens.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown option, and if `@opentelemetry/api` is not installed
 */
export function traceResponses(options: TracingOptions = {}): Tracing {
  assertOptions(options, { tracerProvider: OBJECT });
  const { context, propagation, SpanKind, SpanStatusCode, trace } = loadApi();
  const tracer = (options.tracerProvider ?? trace).getTracer('hotblob');
  const onResponse = (message: unknown): void => {
    const report = message as ResponseReport; // published by report()
    const { exchange, method, operation, milliseconds } = report;
    const endTime = Date.now();
    const active = context.active();
    const hasActiveSpan = trace.getSpan(active) !== undefined;
    const parent = hasActiveSpan ? active : propagation.extract(active, exchange.headers);
    const span = tracer.startSpan(
      hasActiveSpan ? `hotblob ${operation}` : spanName(method),
      {
        kind: hasActiveSpan ? SpanKind.INTERNAL : SpanKind.SERVER,
        startTime: endTime - milliseconds,
        attributes: printableAttributes({ ...httpAttributes(exchange), ...hotblobAttributes(report) }),
      },
      parent,
    );
    if (recordError(span, report)) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end(endTime);
  };
  subscribe(RESPONSE_CHANNEL, onResponse);
  return {
    stop() {
      unsubscribe(RESPONSE_CHANNEL, onResponse);
    },
  };
}

function loadApi(): typeof Api {
  // loadOptional() returns unknown.
  const api = loadOptional('@opentelemetry/api') as typeof Api | undefined;
  if (api !== undefined) return api;
  throw new HotblobError(
    'ERR_HOTBLOB_INVALID_OPTION',
    'traceResponses: the package @opentelemetry/api is not installed (npm install @opentelemetry/api)',
  );
}

function spanName(method: string): string {
  return METHODS.has(method) ? method : 'HTTP';
}

function httpAttributes({ method, url, headers, multiplexed, plain }: Exchange): Api.Attributes {
  const isKnown = METHODS.has(method);
  const host = headers[':authority'] ?? headers.host;
  const { address, port } = parseAuthority(typeof host === 'string' ? host : '');
  return {
    'http.request.method': isKnown ? method : '_OTHER',
    'http.request.method_original': isKnown ? undefined : method,
    'url.scheme': plain ? 'http' : 'https',
    'url.path': url.split(/[?#]/, 1)[0],
    'server.address': address,
    'server.port': port,
    'network.protocol.name': 'http',
    'network.protocol.version': multiplexed ? '2' : '1.1',
    'user_agent.original': headers['user-agent'],
  };
}

function hotblobAttributes(report: ResponseReport): Api.Attributes {
  const { status, failure, bytes, protocol, operation, key, scope, subject } = report;
  const { lookupMilliseconds, firstByteMilliseconds } = report;
  const sent = bytes.bytes + bytes.mapped + bytes.copied + bytes.read + bytes.stream;
  return {
    'http.response.status_code': status === 0 ? undefined : status,
    'hotblob.failure.status_code': failure,
    'http.response.body.size': sent > 0 ? sent : undefined,
    'hotblob.operation': operation,
    'hotblob.protocol': protocol,
    'hotblob.key': key,
    'hotblob.scope': key === undefined ? undefined : scope,
    'hotblob.subject': subject,
    'hotblob.source': mainSource(bytes),
    'hotblob.lookup.duration': toSeconds(lookupMilliseconds),
    'hotblob.first_byte.duration': toSeconds(firstByteMilliseconds),
  };
}

/** Makes attributes printable: clients choose keys, paths and header values, and tools show them on terminals and pages. */
function printableAttributes(attributes: Api.Attributes): Api.Attributes {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [name, typeof value === 'string' ? printable(value) : value]),
  );
}

/**
 * Records the error of a response on its span. Returns whether the status of the span is an error. A 4xx response is
 * not an error of a server span (semantic conventions, HTTP spans, Status).
 */
function recordError(span: Api.Span, { status, complete, error }: ResponseReport): boolean {
  if (error instanceof Error) {
    const { name, message, stack } = error;
    const code = errnoCode(error);
    span.recordException({
      name,
      message: printableLines(message),
      ...(code === undefined ? {} : { code }),
      ...(stack === undefined ? {} : { stack: printableLines(stack) }),
    });
  }
  if (status >= 400 || !complete)
    span.setAttribute('error.type', error instanceof HotblobError ? error.code : `${status}`);
  return status >= 500 || (!complete && !(error instanceof HotblobError && error.status < 500));
}

function parseAuthority(authority: string): {
  readonly address: string | undefined;
  readonly port: number | undefined;
} {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(authority);
  return {
    address: match?.[1]?.replace(/^\[|\]$/g, '') || undefined,
    port: match?.[2] === undefined ? undefined : Number(match[2]),
  };
}

function toSeconds(milliseconds: number | undefined): number | undefined {
  return milliseconds === undefined ? undefined : milliseconds / 1000;
}
