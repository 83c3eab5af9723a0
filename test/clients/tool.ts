import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { type Requirement, testWith } from '../helpers/peers.js';
import { temporaryDirectory } from '../stores/fixture.js';
import { CacheServer, type StoreKind, TOKEN } from './cache-server.js';
import { interruptUploads } from './interrupting-proxy.js';
import type { RunResult } from './run.js';

/** Build tool with a small build. */
export interface Tool {
  readonly name: string;
  readonly peers?: readonly Requirement[];
  /** Creates a workspace. A build with `input` writes {@link expected} to {@link output}. */
  prepare(directory: string, input: string): Promise<void>;
  /** Builds after removing the results and local caches of earlier builds. */
  build(directory: string, port: number, token: string): Promise<RunResult>;
  readonly output: string;
  expected(input: string): string;
  isHit(log: string): boolean;
  /** Result of a build with an unknown token. */
  readonly withUnknownToken: 'builds' | 'fails';
}

/** Incompressible lines, so that the artifact is too large to be stored in the index. */
const INPUT = Array.from({ length: 100 }, (_, index) => createHash('sha256').update(`${index}`).digest('hex')).join(
  '\n',
);

/** Declares the tests that run a tool against `hotblob serve`. */
export function testTool(tool: Tool): void {
  const { name } = tool;

  for (const store of ['directory', 'segments'] as const) {
    testSerially(`takes the second build from the cache (${store})`, async (t) => {
      const { server, build } = await start(t, tool, store);
      const first = await build(server.port);
      t.false(tool.isHit(first.log), first.log);
      const second = await build(server.port);
      t.true(tool.isHit(second.log), second.log);
    });
  }

  testSerially('takes the build from the cache after the server was killed', async (t) => {
    const { server, build } = await start(t, tool, 'segments');
    t.false(tool.isHit((await build(server.port)).log));
    await server.kill();
    await server.start();
    const { log } = await build(server.port);
    t.true(tool.isHit(log), log);
  });

  testSerially('takes nothing from the cache with an unknown token', async (t) => {
    const { server, directory, build } = await start(t, tool, 'segments');
    await build(server.port);
    const refused = await tool.build(directory, server.port, 'unknown-0123456789abcdef');
    t.false(tool.isHit(refused.log), refused.log);
    await assertOutcome(t, tool, refused, directory, tool.withUnknownToken);
  });

  testSerially('never uses an artifact that is corrupt on disk', async (t) => {
    const { server, directory, build } = await start(t, tool, 'segments', '--verify-reads');
    await build(server.port);
    t.true((await server.corrupt()) > 0);
    const result = await tool.build(directory, server.port, TOKEN);
    t.false(tool.isHit(result.log), result.log);
    await assertOutcome(t, tool, result, directory, 'builds');
  });

  testSerially('an interrupted upload stores nothing', async (t) => {
    const { server, directory, build } = await start(t, tool, 'segments');
    const proxy = await interruptUploads(t, server.port);
    // The result of this build depends on the tool. The next build must miss.
    await tool.build(directory, proxy.port, TOKEN);
    t.true(proxy.interruptions() > 0);
    const { log } = await build(server.port);
    t.false(tool.isHit(log), log);
  });

  function testSerially(title: string, run: (t: ExecutionContext) => Promise<void>): void {
    // Serial, because most tools use a whole core, and some time out if they get less.
    testWith(test.serial, ...(tool.peers ?? []))(`${name}: ${title}`, async (t) => {
      t.timeout(180_000);
      await run(t);
    });
  }
}

async function start(t: ExecutionContext, tool: Tool, store: StoreKind, ...options: string[]) {
  const directory = await temporaryDirectory(t);
  await tool.prepare(directory, INPUT);
  const server = await CacheServer.start(t, store, ...options);
  const build = async (port: number): Promise<RunResult> => {
    const result = await tool.build(directory, port, TOKEN);
    await assertOutcome(t, tool, result, directory, 'builds');
    return result;
  };
  return { server, directory, build };
}

async function assertOutcome(
  t: ExecutionContext,
  tool: Tool,
  { code, log }: RunResult,
  directory: string,
  outcome: 'builds' | 'fails',
): Promise<void> {
  if (outcome === 'fails') {
    t.not(code, 0, log);
    return;
  }
  t.is(code, 0, log);
  t.is(await readFile(`${directory}/${tool.output}`, 'utf8'), tool.expected(INPUT), log);
}
