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

/** A server of a directory in a process of its own. Ends with the process that has started it. */
const options: ChildServerOptions = JSON.parse(process.argv[2] ?? '');
const {
  kind,
  directory,
  artifact,
  headroomBytes,
  maxDescriptors,
  memory: kindOfMemory,
  odd,
  echo,
  userId,
  ...handlerOptions
} = options;

if (maxDescriptors !== undefined) {
  execFileSync('prlimit', ['--pid', `${process.pid}`, `--nofile=${maxDescriptors}:${maxDescriptors}`]);
}
// Before anything is opened: the kernel asks who opens.
if (userId !== undefined) {
  process.setgroups?.([]);
  process.setgid?.(userId);
  process.setuid?.(userId);
}
const measured = kindOfMemory === 'measured' ? systemMemoryPressure() : undefined;
const memory = measured ?? fixedMemoryPressure('normal', { headroomBytes: headroomBytes ?? 2 ** 29 });
const files = filesOf(directory, artifact);
const withDefaults = withSources<HandlerOptions>({
  store: echo ? echoStore() : odd ? oddStore(files) : files,
  memory,
  ...(echo && { protocols: createProtocols(PROTOCOL_NAMES, directory) }),
  ...handlerOptions,
});
const handler = createHandler(withDefaults);
const PIECE_BYTES = 2 ** 20;
const held: Buffer[] = [];
const tell = (message: FromChild): void => void process.send?.(message);
process.on('disconnect', () => process.exit());
process.on('message', async ({ id, holdBytes, evict: path }: ToChild) => {
  if (holdBytes !== undefined) hold(holdBytes);
  // Not at the top: it would load koffi where a test wants none.
  if (path !== undefined) (await import('./page-cache.js')).evict(path);
  globalThis.gc?.();
  // The sample before holds for 200 ms.
  if (holdBytes !== undefined) await delay(210);
  tell({ id, stats: handler.stats(), memory: measured && look(measured) });
});
const { server } = await openServer(kind, handler);
tell({ server });

// What is measured is behind getters, which no message takes along.
function look({ sensor, limitBytes, usedBytes, headroomBytes }: SystemMemoryPressure): ChildState['memory'] {
  return { sensor, limitBytes, usedBytes, headroomBytes };
}

function hold(bytes: number): void {
  while (held.length * PIECE_BYTES < bytes) held.push(Buffer.alloc(PIECE_BYTES, 1));
  held.length = Math.max(0, Math.ceil(bytes / PIECE_BYTES));
}
