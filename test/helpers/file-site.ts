import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { FileArtifact } from '../../src/contract/artifact.js';
import type { Exchange } from '../../src/contract/exchange.js';
import type { Store } from '../../src/contract/store.js';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import type { HandlerOptions } from '../../src/handler/options.js';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import type { SourceName } from '../../src/send/tally.js';
import { type Request, type Response, request } from './client.js';
import { MIB, temporaryDirectory } from './files.js';
import { descriptorsBelow } from './page-cache.js';
import { until } from './poll.js';
import { type Kind, type RunningServer, type ServerOptions, startServer } from './servers.js';
import { type TestOptions, withSources } from './sources.js';

/** The kinds of server that differ in how bytes leave. */
export const WIRES = ['http', 'https', 'h2c', 'h2'] as const;

/** The files of a directory, and what is different about some of them. */
export function filesOf(
  directory: string,
  details: Partial<FileArtifact> | ((key: string) => Partial<FileArtifact>) = {},
): Store {
  return {
    get: (key) => ({
      kind: 'file',
      path: join(directory, key),
      immutable: true,
      ...(typeof details === 'function' ? details(key) : details),
    }),
  };
}

/** A handler over a directory of files, mounted into a server. */
export interface FileSite {
  readonly directory: string;
  readonly handler: Handler;
  readonly server: RunningServer;
  get(key: string, rest?: Request): Promise<Response>;
  /** What has left so far from each source, in bytes. Nothing that is 0. */
  sent(): Partial<Record<SourceName, number>>;
}

export interface FileSiteOptions extends Partial<TestOptions<HandlerOptions>> {
  /** Default: a directory of its own. */
  readonly directory?: string;
  readonly artifact?: Partial<FileArtifact> | ((key: string) => Partial<FileArtifact>);
  readonly server?: ServerOptions;
  /** Is shown every exchange before the handler. */
  readonly onExchange?: (exchange: Exchange) => void;
}

export async function openFileSite(
  t: ExecutionContext,
  kind: Kind,
  { directory: given, artifact, server: serverOptions, onExchange, ...options }: FileSiteOptions = {},
): Promise<FileSite> {
  const directory = given ?? (await temporaryDirectory(t));
  const handlerOptions = withSources<HandlerOptions>({
    store: filesOf(directory, artifact),
    // The same on every machine, however full.
    memory: fixedMemoryPressure('normal', { headroomBytes: 512 * MIB }),
    maxPooledBytes: 64 * MIB,
    ...options,
  });
  const handler = createHandler(handlerOptions);
  const shown = {
    close: () => handler.close(),
    handle(exchange: Exchange) {
      onExchange?.(exchange);
      return handler.handle(exchange);
    },
  };
  const server = await startServer(t, kind, shown, serverOptions);
  let asked = 0;
  return {
    directory,
    handler,
    server,
    async get(key, rest) {
      const response = await request(server, { path: `/${key}`, ...rest });
      asked++;
      // A client has the last byte before the server hears that it has left.
      await until('the server has finished, too', () => responsesOf(handler) >= asked);
      return response;
    },
    sent: () => sentBy(handler),
  };
}

/** How many responses are over. */
export function responsesOf(handler: Handler): number {
  return Object.values(handler.stats().responses).reduce((sum, count) => sum + count, 0);
}

export function sentBy(handler: Handler): Partial<Record<SourceName, number>> {
  const counts = Object.entries(handler.stats().sent);
  return Object.fromEntries(counts.filter(([, { bytes }]) => bytes > 0).map(([name, { bytes }]) => [name, bytes]));
}

/** Asserts that a body is `expected`, without a page of bytes where it is not. */
export function assertBytes(t: ExecutionContext, found: Buffer, expected: Buffer, what = 'the body'): void {
  if (found.equals(expected)) {
    t.pass();
    return;
  }
  const length = Math.min(found.byteLength, expected.byteLength);
  let position = 0;
  while (position < length && found[position] === expected[position]) position++;
  t.fail(`${what} has ${found.byteLength} bytes, expected ${expected.byteLength}; they differ from ${position} on`);
}

/** Asserts that nothing is on loan any more, and that nothing keeps a descriptor open once the handler is closed. */
export async function assertAllBack(t: ExecutionContext, { handler, directory }: FileSite): Promise<void> {
  const lent = () => {
    const { mappedBytes, pooledBytes } = handler.stats();
    return { mappedBytes, pooledBytes };
  };
  await until('all is given back', () => lent().mappedBytes === 0 && lent().pooledBytes === 0).catch(() => {});
  t.deepEqual(lent(), { mappedBytes: 0, pooledBytes: 0 });
  handler.close();
  await until('all descriptors are closed', () => handler.stats().openFiles === 0).catch(() => {});
  t.is(handler.stats().openFiles, 0);
  t.deepEqual(descriptorsBelow(directory), []);
}
