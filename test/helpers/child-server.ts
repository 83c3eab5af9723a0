import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { createProtocols, PROTOCOL_NAMES } from '../../src/cli/serve/protocol-names.js';
import { createHandler } from '../../src/handler/handler.js';
import type { HandlerOptions } from '../../src/handler/options.js';
import { fixedMemoryPressure, type SystemMemoryPressure, systemMemoryPressure } from '../../src/memory/pressure.js';
import type { ChildServerOptions, ChildState, FromChild, ToChild } from './child.js';
import { echoStore } from './echo-store.js';
import { filesOf } from './file-site.js';
import { oddStore } from './odd-store.js';
import { openServer } from './servers.js';
import { withSources } from './sources.js';

// Program that serves a directory in a child process. It exits when its parent disconnects.

const options: ChildServerOptions = JSON.parse(process.argv[2] ?? '');
const {
  kind,
  directory,
  artifact,
  headroomBytes,
  maxDescriptors,
  memory: memoryKind,
  odd,
  echo,
  userId,
  ...handlerOptions
} = options;

if (maxDescriptors !== undefined) {
  execFileSync('prlimit', ['--pid', `${process.pid}`, `--nofile=${maxDescriptors}:${maxDescriptors}`]);
}
// Before the first file is opened, because the kernel checks permissions when a file is opened.
if (userId !== undefined) {
  process.setgroups?.([]);
  process.setgid?.(userId);
  process.setuid?.(userId);
}
const measured = memoryKind === 'measured' ? systemMemoryPressure() : undefined;
const memory = measured ?? fixedMemoryPressure('normal', { headroomBytes: headroomBytes ?? 2 ** 29 });
const files = filesOf(directory, artifact);
const withDefaults = withSources<HandlerOptions>({
  store: echo ? echoStore() : odd ? oddStore(files) : files,
  memory,
  ...(echo && { protocols: createProtocols(PROTOCOL_NAMES, { dir: directory }) }),
  ...handlerOptions,
});
const handler = createHandler(withDefaults);
const BLOCK_BYTES = 2 ** 20;
const allocated: Buffer[] = [];
const send = (message: FromChild): void => void process.send?.(message);
process.on('disconnect', () => process.exit());
process.on('message', async ({ id, holdBytes, evict: path }: ToChild) => {
  if (holdBytes !== undefined) allocate(holdBytes);
  // Imported dynamically, because some tests need a process without koffi.
  if (path !== undefined) (await import('./page-cache.js')).evict(path);
  globalThis.gc?.();
  // Memory pressure is sampled at most every 200 ms.
  if (holdBytes !== undefined) await delay(210);
  send({ id, stats: handler.stats(), memory: measured && snapshot(measured) });
});
const { server } = await openServer(kind, handler);
send({ server });

// The measured values are getters, which process.send() does not serialize.
function snapshot({ sensor, limitBytes, usedBytes, headroomBytes }: SystemMemoryPressure): ChildState['memory'] {
  return { sensor, limitBytes, usedBytes, headroomBytes };
}

function allocate(bytes: number): void {
  while (allocated.length * BLOCK_BYTES < bytes) allocated.push(Buffer.alloc(BLOCK_BYTES, 1));
  allocated.length = Math.max(0, Math.ceil(bytes / BLOCK_BYTES));
}
