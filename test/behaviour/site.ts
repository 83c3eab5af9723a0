import test, { type ExecutionContext } from 'ava';
import type { Artifact } from '../../src/contract/artifact.js';
import type { Store } from '../../src/contract/store.js';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import type { HandlerOptions } from '../../src/handler/options.js';
import { REPLY } from '../helpers/artifact-headers.js';
import { type Request, type Response, request } from '../helpers/client.js';
import { KINDS, type Kind, type RunningServer, type ServerOptions, startServer } from '../helpers/servers.js';
import { type TestOptions, withSources } from '../helpers/sources.js';

/** A handler in a running server, and a client for it. */
export interface Site {
  readonly handler: Handler;
  readonly server: RunningServer;
  ask(method: string, path: string, rest?: Omit<Request, 'method' | 'path'>): Promise<Response>;
}

/**
 * Starts a server with a handler. If `mount` is set, a framework mounts the handler there, and without a framework it becomes
 * the option `mountPath`.
 */
export async function open(
  t: ExecutionContext,
  kind: Kind,
  options: TestOptions<HandlerOptions>,
  serverOptions: ServerOptions = {},
): Promise<Site> {
  const isFramework = !['stream', 'node', 'front'].includes(KINDS[kind].host);
  const { mount } = serverOptions;
  const handler = createHandler(
    withSources(mount === undefined || isFramework ? options : { mountPath: mount, ...options }),
  );
  const server = await startServer(t, kind, handler, serverOptions);
  return { handler, server, ask: (method, path, rest) => request(server, { method, path, ...rest }) };
}

/** Returns a read-only store with these artifacts. */
export function storeOf(artifacts: Readonly<Record<string, Artifact>>): Store {
  return { get: (key) => artifacts[key] };
}

/** Returns response headers without Date and those that belong to the connection. */
export function endToEnd(headers: Response['headers']): Response['headers'] {
  const { date: _date, connection: _connection, 'keep-alive': _keepAlive, ...rest } = headers;
  return rest;
}

/** Asserts that a body is `expected`. A failure prints sizes instead of all bytes. */
export function assertBody(t: ExecutionContext, body: Buffer, expected: Uint8Array | string): void {
  const bytes = Buffer.from(expected);
  t.true(body.equals(bytes), `expected ${bytes.byteLength} bytes, received ${body.byteLength} bytes that differ`);
}

/** Asserts a generic error response: JSON with a message and nothing else, and a Content-Length. */
export function assertError(t: ExecutionContext, response: Response, status: number): void {
  t.is(response.status, status);
  const { message, ...rest }: Record<string, unknown> = JSON.parse(response.body.toString());
  t.is(typeof message, 'string');
  t.deepEqual(rest, {});
  t.like(response.headers, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(response.body.byteLength),
    'cache-control': 'no-store',
    ...REPLY,
  });
}

/**
 * Part of the behaviour suite. `product` is all of it. `host` leaves out what a framework cannot change: what follows from the
 * request and the artifact alone, such as preconditions and ranges.
 */
export type Scope = 'product' | 'host';

/** Declares tests of the scope `product`. */
export function productTestIn(scope: Scope): (title: string, run: (t: ExecutionContext) => Promise<void>) => void {
  return scope === 'product' ? test : () => {};
}
