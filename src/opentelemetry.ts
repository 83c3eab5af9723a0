import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type * as Api from '@opentelemetry/api';
import { HotblobError } from './contract/errors.js';
import type { Exchange } from './contract/exchange.js';
import { assertOptions, invalidOption, OBJECT } from './contract/validation.js';
import { RESPONSE_CHANNEL, type ResponseReport } from './handler/response-record.js';
import { mainSource } from './send/tally.js';
import { loadOptional } from './util/load-optional.js';

/** What {@link traceResponses} takes. */
export interface TracingOptions {
  /** Default: the global one, which the SDK sets. */
  readonly tracerProvider?: Api.TracerProvider | undefined;
}

/** Spans of responses, until they are ended. */
export interface Tracing {
  /** No further span begins. */
  stop(): void;
}

/** The methods that the conventions know; others are `_OTHER`. */
const METHODS = new Set(['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE', 'QUERY']);

/**
 * Makes a span of each response of this process, by the semantic conventions for HTTP servers, for whoever runs the SDK of
 * OpenTelemetry. Within a span that is there already, such as one of the instrumentation of node:http, it is an internal
 * one, `hotblob read`; else it is the server's, with the parent that the request's headers name. It begins with the
 * request and is made when the response is over: what a store does meanwhile is no child of it.
 *
 * The query is left out: it may hold tokens.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`, also where `@opentelemetry/api` is not installed
 */
export function traceResponses(options: TracingOptions = {}): Tracing {
  assertOptions(options, { tracerProvider: OBJECT });
  const { context, propagation, SpanKind, SpanStatusCode, trace } = loadApi();
  const tracer = (options.tracerProvider ?? trace).getTracer('hotblob');
  const onResponse = (message: unknown): void => {
    const report = message as ResponseReport; // what `report()` publishes there
    const { exchange, method, operation, milliseconds } = report;
    const endTime = Date.now();
    const active = context.active();
    const isWithin = trace.getSpan(active) !== undefined;
    const parent = isWithin ? active : propagation.extract(active, exchange.headers);
    const span = tracer.startSpan(
      isWithin ? `hotblob ${operation}` : methodName(method),
      {
        kind: isWithin ? SpanKind.INTERNAL : SpanKind.SERVER,
        startTime: endTime - milliseconds,
        attributes: { ...httpAttributes(exchange), ...ownAttributes(report) },
      },
      parent,
    );
    if (describeFailure(span, report)) span.setStatus({ code: SpanStatusCode.ERROR });
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
  // its types describe what its module holds
  const api = loadOptional('@opentelemetry/api') as typeof Api | undefined;
  if (api !== undefined) return api;
  throw invalidOption('traceResponses', 'the package @opentelemetry/api (npm install @opentelemetry/api)', undefined);
}

function methodName(method: string): string {
  return METHODS.has(method) ? method : 'HTTP';
}

function httpAttributes({ method, url, headers, multiplexed, plain }: Exchange): Api.Attributes {
  const isKnown = METHODS.has(method);
  const host = headers[':authority'] ?? headers.host;
  const { address, port } = hostOf(typeof host === 'string' ? host : '');
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

function ownAttributes(report: ResponseReport): Api.Attributes {
  const { status, bytes, protocol, operation, key, lookupMilliseconds, firstByteMilliseconds } = report;
  const sent = bytes.bytes + bytes.mapped + bytes.copied + bytes.read + bytes.stream;
  return {
    'http.response.status_code': status === 0 ? undefined : status,
    'http.response.body.size': sent > 0 ? sent : undefined,
    'hotblob.operation': operation,
    'hotblob.protocol': protocol,
    'hotblob.key': key,
    'hotblob.source': mainSource(bytes),
    'hotblob.lookup.duration': seconds(lookupMilliseconds),
    'hotblob.first_byte.duration': seconds(firstByteMilliseconds),
  };
}

/** Whether it is ours: a client's mistake is no failure of the server's (semantic conventions, HTTP spans, status). */
function describeFailure(span: Api.Span, { status, complete, error }: ResponseReport): boolean {
  if (error instanceof Error) span.recordException(error);
  if (status >= 400 || !complete)
    span.setAttribute('error.type', error instanceof HotblobError ? error.code : `${status}`);
  return status >= 500 || (!complete && !(error instanceof HotblobError && error.status < 500));
}

function hostOf(authority: string): { readonly address: string | undefined; readonly port: number | undefined } {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(authority);
  return {
    address: match?.[1]?.replace(/^\[|\]$/g, '') || undefined,
    port: match?.[2] === undefined ? undefined : Number(match[2]),
  };
}

function seconds(milliseconds: number | undefined): number | undefined {
  return milliseconds === undefined ? undefined : milliseconds / 1000;
}
