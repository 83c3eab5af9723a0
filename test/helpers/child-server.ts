import { createHandler } from '../../src/handler.js';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import type { ChildServerOptions, FromChild, ToChild } from './child.js';
import { filesOf } from './file-site.js';
import { openServer } from './servers.js';

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
const { server } = await openServer(kind, handler);
tell({ server });
