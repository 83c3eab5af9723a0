import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import http2, { type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { nodeListener, streamListener } from '../../src/adapters/node.js';
import { createHandler, type Handler } from '../../src/handler.js';
import type { HandlerOptions } from '../../src/options.js';

export const MIB = 1024 * 1024;

/** A handler over a temporary directory, with a port of HTTP/1.1 and one of h2c. */
export interface Fixture {
  readonly dir: string;
  readonly handler: Handler;
  readonly http1Port: number;
  readonly h2cPort: number;
  /** Every stream that the h2c port has opened. */
  readonly streams: ServerHttp2Stream[];
}

export async function fixture(
  t: ExecutionContext,
  files: Readonly<Record<string, Buffer>>,
  options: Partial<HandlerOptions> = {},
): Promise<Fixture> {
  const dir = await mkdtemp(join(tmpdir(), 'hotblob-adapters-'));
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(dir, name), bytes);
  const handler = createHandler({
    store: { get: (key) => ({ kind: 'file', path: join(dir, key), immutable: true }) },
    ...options,
  });
  const streams: ServerHttp2Stream[] = [];
  const listener = streamListener(handler);
  const h2c = http2.createServer().on('stream', (stream, headers) => {
    streams.push(stream);
    listener(stream, headers);
  });
  const http1 = http.createServer(nodeListener(handler));
  const http1Port = await listen(t, http1);
  const h2cPort = await listen(t, h2c);
  t.teardown(async () => {
    handler.close();
    await rm(dir, { recursive: true });
  });
  return { dir, handler, http1Port, h2cPort, streams };
}

async function listen(t: ExecutionContext, server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.on('session', (session: ServerHttp2Session) => session.on('error', () => {}));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port; // it listens on a port
}

/** Resolves when `condition` holds; fails the test when it does not within `timeoutMs`. */
export async function eventually(
  t: ExecutionContext,
  what: string,
  condition: () => boolean,
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) {
      t.fail(`not within ${timeoutMs} ms: ${what}`);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Resolves when the bytes that a handler holds for its responses have not changed for a while: its clients are full. */
export async function stalled(handler: Handler): Promise<void> {
  let before = -1;
  let same = 0;
  while (same < 10) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    const { mapped, copied, read } = handler.stats().sent;
    const now = mapped.bytes + copied.bytes + read.bytes;
    same = now === before && handler.stats().mappedBytes + handler.stats().pooledBytes > 0 ? same + 1 : 0;
    before = now;
  }
}

/** Bytes that tell where they belong. */
export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let index = 0; index + 4 <= length; index += 4) bytes.writeUInt32LE((index ^ (seed * 0x1000003)) >>> 0, index);
  return bytes;
}
