import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { temporaryDirectory } from '../stores/fixture.js';
import { CacheServer } from './cache-server.js';
import { configurationOf, configured } from './configuration.js';
import { initRepository } from './repository.js';
import { type RunResult, runLine } from './run.js';

const [settings = '', line = ''] = configurationOf('Rush');
const INPUT = 'input';
const BUILD = `import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
mkdirSync('dist', { recursive: true });
writeFileSync('dist/out.txt', readFileSync('input.txt', 'utf8').repeat(10));
`;

// Few builds, because Rush waits for several seconds after each miss.
for (const method of ['PUT', 'POST'] as const) {
  test.serial(`rush: takes the second build from the cache, ${method}`, async (t) => {
    t.timeout(180_000);
    const server = await CacheServer.start(t, 'segments');
    const build = await prepare(t, method, server.port);
    const first = await build();
    t.false(isHit(first.log), first.log);
    const second = await build();
    t.true(isHit(second.log), second.log);
  });
}

test.serial('rush: builds without a warning if the server has no space for the artifact', async (t) => {
  t.timeout(180_000);
  const server = await CacheServer.start(t, 'directory', '--max-size', '1');
  const { log } = await (await prepare(t, 'PUT', server.port))();
  t.notRegex(log, /with warnings/i);
});

const isHit = (log: string): boolean => log.includes('was restored from the build cache');

/** Creates a workspace. Returns a function that builds in it after removing the results of earlier builds. */
async function prepare(t: ExecutionContext, method: string, port: number): Promise<() => Promise<RunResult>> {
  const directory = await temporaryDirectory(t);
  const cache = { ...JSON.parse(configured(settings, port)) };
  cache.httpConfiguration.uploadMethod = method;
  const files: Record<string, unknown> = {
    'rush.json': {
      rushVersion: (
        JSON.parse(await readFile('node_modules/@microsoft/rush/package.json', 'utf8')) as { version: string }
      ).version,
      pnpmVersion: '8.15.9',
      nodeSupportedVersionRange: '>=18',
      projectFolderMinDepth: 1,
      projects: [{ packageName: 'a', projectFolder: 'a' }],
    },
    'common/config/rush/build-cache.json': cache,
    // What `rush install` leaves for a project without dependencies. It would download pnpm.
    'common/temp/last-link.flag': {},
    'a/.rush/temp/shrinkwrap-deps.json': {},
    'a/package.json': { name: 'a', version: '1.0.0', scripts: { build: 'node build.mjs' } },
    'a/config/rush-project.json': { operationSettings: [{ operationName: 'build', outputFolderNames: ['dist'] }] },
  };
  for (const [name, value] of Object.entries(files)) {
    await mkdir(`${directory}/${name.slice(0, name.lastIndexOf('/') + 1)}`, { recursive: true });
    await writeFile(`${directory}/${name}`, JSON.stringify(value));
  }
  await writeFile(`${directory}/a/build.mjs`, BUILD);
  await writeFile(`${directory}/a/input.txt`, INPUT);
  await initRepository(directory, ['common/temp', 'dist', '.rush', 'rush-logs', 'home']);
  return async () => {
    for (const path of ['a/dist', 'a/rush-logs', 'a/.rush/temp/operation', 'common/temp/build-cache', 'home']) {
      await rm(`${directory}/${path}`, { recursive: true, force: true });
    }
    await mkdir(`${directory}/home`);
    const result = await runLine(configured(line, port), directory, { HOME: `${directory}/home` });
    t.is(result.code, 0, result.log);
    t.is(await readFile(`${directory}/a/dist/out.txt`, 'utf8'), INPUT.repeat(10), result.log);
    return result;
  };
}
