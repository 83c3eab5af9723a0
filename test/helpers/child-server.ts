import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { nodeListener, streamListener } from '../../src/adapters/node.js';
import { createHandler } from '../../src/handler.js';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import { createServer } from '../../src/server/server.js';
import type { ChildServerOptions, FromChild, ToChild } from './child.js';
import { filesOf } from './file-site.js';

/** A server of a directory in a process of its own. Ends with the process that has started it. */
const options: ChildServerOptions = JSON.parse(process.argv[2] ?? '');
const { kind, directory, artifact, headroomBytes, userId, ...handlerOptions } = options;

// Before anything is opened: the kernel asks who opens.
if (userId !== undefined) {
  process.setgroups?.([]);
  process.setgid?.(userId);
  process.setuid?.(userId);
}
const memory = fixedMemoryPressure('normal', { headroomBytes: headroomBytes ?? 2 ** 29 });
const handler = createHandler({
  store: filesOf(directory, artifact),
  memory,
  ...handlerOptions,
});
const tell = (message: FromChild): void => void process.send?.(message);
process.on('disconnect', () => process.exit());
process.on('message', ({ id }: ToChild) => {
  globalThis.gc?.();
  tell({ id, stats: handler.stats() });
});
tell({ port: await listen() });

async function listen(): Promise<number> {
  if (kind === 'port-h2c') {
    const port = createServer(handler, { memory });
    await port.listen({ port: 0, host: '127.0.0.1' });
    return portOf(port.address());
  }
  const server =
    kind === 'http'
      ? http.createServer(nodeListener(handler))
      : http2.createServer().on('stream', streamListener(handler));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return portOf(server.address());
}

function portOf(address: AddressInfo | string | null): number {
  // a server that listens on a port has an address of this kind
  return (address as AddressInfo).port;
}
