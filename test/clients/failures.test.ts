// Builds of real tools while the cache fails: each build must go on as with a miss and a skipped upload.
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { HotblobError } from '../../src/contract/errors.js';
import type { Store } from '../../src/contract/store.js';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import type { HandlerOptions } from '../../src/handler/options.js';
import { bazel as bazelProtocol } from '../../src/protocols/bazel/bazel.js';
import { ccache as ccacheProtocol } from '../../src/protocols/ccache.js';
import { gradle as gradleProtocol } from '../../src/protocols/gradle.js';
import { metro as metroProtocol } from '../../src/protocols/metro.js';
import { nx as nxProtocol } from '../../src/protocols/nx.js';
import { turborepo as turborepoProtocol } from '../../src/protocols/turborepo.js';
import { createServer } from '../../src/server/server.js';
import { testWith } from '../helpers/peers.js';
import { temporaryDirectory } from '../stores/fixture.js';
import { TOKEN } from './cache-server.js';
import type { Tool } from './tool.js';
import { bazel } from './tools/bazel.js';
import { ccache } from './tools/ccache.js';
import { gradle } from './tools/gradle.js';
import { metro } from './tools/metro.js';
import { nx } from './tools/nx.js';
import { turborepo } from './tools/turborepo.js';

const TOOLS = [nx, turborepo('turbo', {}, {}), gradle, bazel, metro, ccache];
/** Tools that take so long to start that they run with {@link FAILURES} only. */
const SLOW: ReadonlySet<Tool> = new Set([gradle, bazel]);
const PROTOCOLS = [
  turborepoProtocol(),
  nxProtocol(),
  metroProtocol(),
  gradleProtocol(),
  bazelProtocol(),
  ccacheProtocol(),
];
const INPUT = 'input of the build';

/** Failure of a download and of an upload. Both happen in one build, so that the suite takes minutes. */
interface Failure extends Pick<HandlerOptions, 'maxUploadBytes'> {
  readonly get: Store['get'];
  readonly put?: Store['put'];
  /** Statuses of the failures, as the statistics count them. */
  readonly statuses: readonly number[];
}

const throwing = (error: unknown) => () => Promise.reject(error);
const corrupt = new HotblobError('ERR_HOTBLOB_CORRUPT', 'corrupt');

const FAILURES: Readonly<Record<string, Failure>> = {
  'the store throws': { get: throwing(new Error('get')), put: throwing(new Error('put')), statuses: [500] },
  'descriptors are exhausted, and the disk is full': {
    get: throwing(Object.assign(new Error('descriptors'), { code: 'EMFILE' })),
    put: throwing(Object.assign(new Error('disk'), { code: 'ENOSPC' })),
    statuses: [503, 507],
  },
  'the store is closed and read-only': {
    get: throwing(new HotblobError('ERR_HOTBLOB_CLOSED', 'closed')),
    statuses: [405, 503],
  },
};

const FURTHER_FAILURES: Readonly<Record<string, Failure>> = {
  'the remote is down, and does not respond in time': {
    get: throwing(new HotblobError('ERR_HOTBLOB_UPSTREAM', 'down')),
    put: throwing(new HotblobError('ERR_HOTBLOB_UPSTREAM_TIMEOUT', 'timeout')),
    statuses: [502, 504],
  },
  'the artifact is corrupt, and the server is overloaded': {
    get: () => ({ kind: 'stream', size: 100, open: throwing(corrupt) }),
    put: throwing(new HotblobError('ERR_HOTBLOB_OVERLOADED', 'overload')),
    statuses: [500, 503],
  },
  'the artifact is too large': {
    get: () => undefined,
    put: async () => ({ created: true }),
    maxUploadBytes: 5,
    statuses: [413],
  },
};

for (const tool of TOOLS) {
  for (const [title, failure] of Object.entries(SLOW.has(tool) ? FAILURES : { ...FAILURES, ...FURTHER_FAILURES })) {
    // Serial, because most tools use a whole core.
    testWith(test.serial, ...(tool.peers ?? []))(`${tool.name} builds although ${title}`, async (t) => {
      t.timeout(180_000);
      const { handler, port } = await serve(t, failure);
      const directory = await temporaryDirectory(t);
      await tool.prepare(directory, INPUT);
      const { code, log } = await tool.build(directory, port, TOKEN);
      t.is(code, 0, log);
      t.is(await readFile(`${directory}/${tool.output}`, 'utf8'), tool.expected(INPUT), log);
      t.false(tool.isHit(log), log);
      // What Gradle prints if it stops using the cache.
      t.notRegex(log, /cache (?:was|is now) disabled/);
      const counted = handler.stats().responseCounts.flatMap(({ failure: status }) => status ?? []);
      t.deepEqual([...new Set(counted)].sort(), failure.statuses, 'the failures are counted');
    });
  }
}

async function serve(
  t: ExecutionContext,
  { get, put, maxUploadBytes }: Failure,
): Promise<{ readonly handler: Handler; readonly port: number }> {
  const handler = createHandler({ store: { get, ...(put && { put }) }, protocols: PROTOCOLS, maxUploadBytes });
  const server = createServer(handler);
  await server.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => server.close({ timeoutMs: 0 }));
  // A server that listens on a port has an AddressInfo.
  return { handler, port: (server.address() as AddressInfo).port };
}
