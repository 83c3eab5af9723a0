import http from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { nodeListener, streamListener } from '../../src/adapters/node.js';
import { createHandler } from '../../src/handler.js';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
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
const handler = createHandler({
  store: filesOf(directory, artifact),
  memory: fixedMemoryPressure('normal', { headroomBytes: headroomBytes ?? 2 ** 29 }),
  ...handlerOptions,
});
const server =
  kind === 'http'
    ? http.createServer(nodeListener(handler))
    : http2.createServer().on('stream', streamListener(handler));

const tell = (message: FromChild): void => void process.send?.(message);
process.on('disconnect', () => process.exit());
process.on('message', ({ id }: ToChild) => {
  globalThis.gc?.();
  tell({ id, stats: handler.stats() });
});
server.listen(0, '127.0.0.1', () => {
  // a server that listens on a port has an address of this kind
  tell({ port: (server.address() as AddressInfo).port });
});
