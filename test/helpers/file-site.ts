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

/** The kinds of server that differ in how they send bytes. */
export const WIRES = ['http', 'https', 'h2c', 'h2'] as const;

/** Returns a store with the files of a directory as immutable artifacts. `details` overrides their properties. */
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

/** A server with a handler for the files of a directory. */
export interface FileSite {
  readonly directory: string;
  readonly handler: Handler;
  readonly server: RunningServer;
  get(key: string, rest?: Request): Promise<Response>;
  /** Returns the bytes sent from each source, without sources that are 0. */
  sent(): Partial<Record<SourceName, number>>;
}

export interface FileSiteOptions extends Partial<TestOptions<HandlerOptions>> {
  /** Default: a new temporary directory. */
  readonly directory?: string;
  readonly artifact?: Partial<FileArtifact> | ((key: string) => Partial<FileArtifact>);
  readonly server?: ServerOptions;
  /** Called with every exchange before the handler. */
  readonly onExchange?: (exchange: Exchange) => void;
}

export async function openFileSite(
  t: ExecutionContext,
  kind: Kind,
  { directory: existing, artifact, server: serverOptions, onExchange, ...options }: FileSiteOptions = {},
): Promise<FileSite> {
  const directory = existing ?? (await temporaryDirectory(t));
  const handlerOptions = withSources<HandlerOptions>({
    store: filesOf(directory, artifact),
    // Independent of the memory of the machine.
    memory: fixedMemoryPressure('normal', { headroomBytes: 512 * MIB }),
    maxPooledBytes: 64 * MIB,
    ...options,
  });
  const handler = createHandler(handlerOptions);
  const observed = {
    close: () => handler.close(),
    handle(exchange: Exchange) {
      onExchange?.(exchange);
      return handler.handle(exchange);
    },
  };
  const server = await startServer(t, kind, observed, serverOptions);
  let requests = 0;
  return {
    directory,
    handler,
    server,
    async get(key, rest) {
      const response = await request(server, { path: `/${key}`, ...rest });
      requests++;
      // The client may receive the last byte before the write callback runs in the server.
      await until('the server has finished the response', () => responsesOf(handler) >= requests);
      return response;
    },
    sent: () => sentBy(handler),
  };
}

/** Returns the number of finished responses. */
export function responsesOf(handler: Handler): number {
  return Object.values(handler.stats().responses).reduce((sum, count) => sum + count, 0);
}

export function sentBy(handler: Handler): Partial<Record<SourceName, number>> {
  const counts = Object.entries(handler.stats().sent);
  return Object.fromEntries(counts.filter(([, { bytes }]) => bytes > 0).map(([name, { bytes }]) => [name, bytes]));
}

/** Asserts that a body is `expected`. A failure prints the first difference instead of all bytes. */
export function assertBytes(t: ExecutionContext, received: Buffer, expected: Buffer, name = 'the body'): void {
  if (received.equals(expected)) {
    t.pass();
    return;
  }
  const length = Math.min(received.byteLength, expected.byteLength);
  let position = 0;
  while (position < length && received[position] === expected[position]) position++;
  t.fail(
    `${name}: expected ${expected.byteLength} bytes, received ${received.byteLength}; first difference at ${position}`,
  );
}

/** Asserts that all mappings and buffers are released, and that closing the handler closes all descriptors. */
export async function assertAllBack(t: ExecutionContext, { handler, directory }: FileSite): Promise<void> {
  const leased = () => {
    const { mappedBytes, pooledBytes } = handler.stats();
    return { mappedBytes, pooledBytes };
  };
  await until('all leases are released', () => leased().mappedBytes === 0 && leased().pooledBytes === 0).catch(
    () => {},
  );
  t.deepEqual(leased(), { mappedBytes: 0, pooledBytes: 0 });
  handler.close();
  await until('all descriptors are closed', () => handler.stats().openFiles === 0).catch(() => {});
  t.is(handler.stats().openFiles, 0);
  t.deepEqual(descriptorsBelow(directory), []);
}
