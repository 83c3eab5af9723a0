import { readdir, readFile, stat } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import type { HandlerStats } from '../../src/handler/stats.js';
import { type RunningExample, startExample } from '../helpers/example.js';
import { temporaryDirectory } from '../stores/fixture.js';
import { TOKEN } from './cache-server.js';
import { buildWorkspace, expectedOutput, isHit, OUTPUT, prepareWorkspace } from './turbo-workspace.js';

const INPUT = 'input';
const SIGNED = { TURBO_REMOTE_CACHE_SIGNATURE_KEY: 'a key of the team with 32 bytes or more' };

for (const [name, environment] of Object.entries({ turbo: {}, 'turbo, signed': SIGNED })) {
  const settings = { remoteCache: { signature: environment === SIGNED } };

  test.serial(`turborepo-remote-cache, ${name}: hotblob sends the artifact of the second build`, async (t) => {
    t.timeout(180_000);
    const { artifacts, example, build } = await start(t, settings, environment);
    const first = await build();
    t.false(isHit(first), first);
    const second = await build();
    t.true(isHit(second), second);
    const { responses, sent } = await statsOf(t, example);
    t.deepEqual(responses, { 200: 1 });
    t.is(bytesOf(sent), await artifactBytes(artifacts));
  });

  test.serial(`turborepo-remote-cache, ${name}: takes nothing from the cache with an unknown token`, async (t) => {
    t.timeout(180_000);
    const { example, build } = await start(t, settings, environment);
    await build();
    const log = await build('unknown-0123456789abcdef');
    t.false(isHit(log), log);
    t.deepEqual((await statsOf(t, example)).responses, {});
    t.true(example.lines.some((line) => line.includes('Invalid authorization token')));
  });
}

async function start(t: ExecutionContext, settings: object, environment: Readonly<Record<string, string>>) {
  const directory = await temporaryDirectory(t);
  const artifacts = await temporaryDirectory(t);
  await prepareWorkspace(directory, INPUT, settings);
  const example = await startExample(t, 'turborepo-remote-cache.ts', {
    ...environment,
    DIR: artifacts,
    TURBO_TOKEN: TOKEN,
  });
  const build = async (token = TOKEN): Promise<string> => {
    const { code, log } = await buildWorkspace(directory, example.server.port, token, environment);
    t.is(code, 0, log);
    t.is(await readFile(`${directory}/${OUTPUT}`, 'utf8'), expectedOutput(INPUT), log);
    return log;
  };
  return { artifacts, example, build };
}

/** Ends the example and returns the stats of hotblob that it prints. */
async function statsOf(t: ExecutionContext, example: RunningExample): Promise<HandlerStats> {
  t.deepEqual(await example.end(), [0, null]);
  const line = example.lines.find((line) => line.includes('sent by hotblob'));
  return JSON.parse(line ?? '{}');
}

function bytesOf(sent: HandlerStats['sent']): number {
  return Object.values(sent).reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Returns the size of the only stored artifact. */
async function artifactBytes(directory: string): Promise<number> {
  const names = (await readdir(`${directory}/team`)).filter((name) => !name.endsWith('.tag'));
  if (names.length !== 1) throw new Error(`expected one artifact, received ${names}`);
  return (await stat(`${directory}/team/${names[0]}`)).size;
}
