import { fork } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import type { Store } from '../../src/contract/store.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { segmentStore } from '../../src/stores/segments/store.js';
import { sharedStore } from '../../src/stores/shared/store.js';
import { type Kind, type RunningServer, startServer } from '../helpers/servers.js';
import { temporaryDirectory } from '../stores/fixture.js';
import { RUN } from './scopes-model/operations.js';
import { replay, type Site } from './scopes-model/replay.js';
import { createScopedHandler } from './scopes-model/site.js';

/** Number of runs with each store and each version of HTTP. */
const RUNS = Number(process.env['SCOPE_RUNS'] ?? 15);

const STORES: Readonly<Record<string, (t: ExecutionContext) => Promise<Store>>> = {
  memory: async () => memoryStore(),
  directory: async (t) => directoryStore(await temporaryDirectory(t)),
  segments: async (t) => {
    const store = await segmentStore(await temporaryDirectory(t));
    t.teardown(() => store.close());
    return store;
  },
};

/** Performs random runs. A failure shows the shortest run that was found, and its seed and path. */
async function check(t: ExecutionContext, site: Site, numRuns: number): Promise<void> {
  const seed = Number(process.env['SCOPE_SEED'] ?? randomInt(2 ** 31));
  t.log(`seed ${seed}`);
  const property = fc.asyncProperty(RUN, (run) => replay(site, run));
  await fc.assert(property, { seed, numRuns, includeErrorInReport: true });
  t.pass();
}

/** Starts servers in this process, one for each default of `overwrite`. */
async function start(t: ExecutionContext, kind: Kind, store: Store, uploadsDir: string): Promise<Site> {
  const handlers = [true, false].map((overwrite) => createScopedHandler(store, uploadsDir, overwrite));
  const servers = await Promise.all(handlers.map((handler) => startServer(t, kind, handler)));
  return { servers: (overwrite) => servers.slice(overwrite ? 0 : 1, overwrite ? 1 : 2) };
}

/** Starts servers in another process. */
async function startChild(t: ExecutionContext, dir: string, uploadsDir: string): Promise<Site> {
  const program = fileURLToPath(new URL('./scopes-model/child.ts', import.meta.url));
  const child = fork(program, [dir, uploadsDir], { execArgv: ['--import=tsx'] });
  t.teardown(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit').then(() => Promise.reject(new Error('the process has ended')));
  // The first message of the program.
  const [servers] = (await Promise.race([once(child, 'message'), exited])) as [RunningServer[]];
  exited.catch(() => {}); // the end of the test
  return { servers: (overwrite) => servers.slice(overwrite ? 0 : 1, overwrite ? 1 : 2) };
}

for (const [name, createStore] of Object.entries(STORES)) {
  for (const kind of ['http', 'h2c'] as const) {
    test(`${name}, ${kind}: random clients receive what a model says, and nothing of a scope that they do not read`, async (t) => {
      const uploadsDir = join(await temporaryDirectory(t), 'parts');
      await check(t, await start(t, kind, await createStore(t), uploadsDir), RUNS);
    });
  }
}

test('shared by two processes: random clients receive what a model says, from either process', async (t) => {
  const dir = await temporaryDirectory(t);
  const uploadsDir = join(await temporaryDirectory(t), 'parts');
  const store = await sharedStore(dir, { kind: 'segments' });
  t.teardown(() => store.close());
  const sites = [await start(t, 'http', store, uploadsDir), await startChild(t, dir, uploadsDir)];
  const servers = (overwrite: boolean) => sites.flatMap((site) => site.servers(overwrite));
  await check(t, { servers, seesCleanLater: true }, Math.ceil(RUNS / 2));
});
