import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { type Requirement, testWith } from '../helpers/peers.js';
import { temporaryDirectory } from '../stores/fixture.js';
import { CacheServer, type StoreKind, TOKEN } from './cache-server.js';
import { cutUploads } from './cutting-proxy.js';
import type { Ran } from './run.js';

/** A build tool, and a small build of it. */
export interface Tool {
  readonly name: string;
  readonly peers?: readonly Requirement[];
  /** Makes a workspace; with `input` the build comes to {@link expected}. */
  prepare(directory: string, input: string): Promise<void>;
  /** Builds with nothing left of earlier builds. */
  build(directory: string, port: number, token: string): Promise<Ran>;
  readonly output: string;
  expected(input: string): string;
  isHit(log: string): boolean;
  /** How the tool takes a token that is not known, and an artifact that the server finds hurt. */
  readonly withWrongToken: 'builds' | 'fails';
  readonly withHurtArtifact: 'builds' | 'fails';
}

/** Lines that no compression makes so small that a store would keep them in its index. */
const INPUT = Array.from({ length: 100 }, (_, index) => createHash('sha256').update(`${index}`).digest('hex')).join(
  '\n',
);

/** Drives a tool against the command line, as a user would. */
export function testTool(tool: Tool): void {
  const { name } = tool;

  for (const store of ['directory', 'segments'] as const) {
    titled(`builds once, and takes the second build from the cache (${store})`, async (t) => {
      const { server, build } = await begin(t, tool, store);
      const first = await build(server.port);
      t.false(tool.isHit(first.log), first.log);
      const second = await build(server.port);
      t.true(tool.isHit(second.log), second.log);
    });
  }

  titled('a server that is killed between two builds has what it took', async (t) => {
    const { server, build } = await begin(t, tool, 'segments');
    t.false(tool.isHit((await build(server.port)).log));
    await server.kill();
    await server.start();
    const { log } = await build(server.port);
    t.true(tool.isHit(log), log);
  });

  titled('a token that is not known', async (t) => {
    const { server, directory, build } = await begin(t, tool, 'segments');
    await build(server.port);
    const refused = await tool.build(directory, server.port, 'of-somebody-else-01234567');
    t.false(tool.isHit(refused.log), refused.log);
    await assertOutcome(t, tool, refused, directory, tool.withWrongToken);
  });

  titled('an artifact that is hurt on the disk is never used', async (t) => {
    const { server, directory, build } = await begin(t, tool, 'segments', '--verify-reads');
    await build(server.port);
    t.true((await server.hurt()) > 0);
    const ran = await tool.build(directory, server.port, TOKEN);
    t.false(tool.isHit(ran.log), ran.log);
    await assertOutcome(t, tool, ran, directory, tool.withHurtArtifact);
  });

  titled('an upload that is cut off in the middle leaves nothing to hit', async (t) => {
    const { server, directory, build } = await begin(t, tool, 'segments');
    const proxy = await cutUploads(t, server.port);
    // What the tool makes of it is its own; what counts is the next one.
    await tool.build(directory, proxy.port, TOKEN);
    t.true(proxy.cuts() > 0);
    const { log } = await build(server.port);
    t.false(tool.isHit(log), log);
  });

  function titled(title: string, run: (t: ExecutionContext) => Promise<void>): void {
    // One by one: most of them take a whole core, and some give up when they get too little.
    testWith(test.serial, ...(tool.peers ?? []))(`${name}: ${title}`, async (t) => {
      t.timeout(180_000);
      await run(t);
    });
  }
}

async function begin(t: ExecutionContext, tool: Tool, store: StoreKind, ...options: string[]) {
  const directory = await temporaryDirectory(t);
  await tool.prepare(directory, INPUT);
  const server = await CacheServer.start(t, store, ...options);
  const build = async (port: number): Promise<Ran> => {
    const ran = await tool.build(directory, port, TOKEN);
    await assertOutcome(t, tool, ran, directory, 'builds');
    return ran;
  };
  return { server, directory, build };
}

async function assertOutcome(
  t: ExecutionContext,
  tool: Tool,
  { code, log }: Ran,
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
