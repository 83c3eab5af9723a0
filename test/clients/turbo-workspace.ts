import { mkdir, rm, writeFile } from 'node:fs/promises';
import { configurationOf, configured } from './configuration.js';
import { type RunResult, runLine } from './run.js';

const BUILD = `import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
mkdirSync('dist', { recursive: true });
writeFileSync('dist/out.txt', readFileSync('input.txt', 'utf8').repeat(10));
`;
const [line = ''] = configurationOf('Turborepo');

/** Path of the build's output. */
export const OUTPUT = 'packages/a/dist/out.txt';

export const expectedOutput = (input: string): string => input.repeat(10);

/** Creates a workspace with one package. `settings` are added to its turbo.json. */
export async function prepareWorkspace(directory: string, input: string, settings: object = {}): Promise<void> {
  await mkdir(`${directory}/packages/a`, { recursive: true });
  const files: Record<string, unknown> = {
    'package.json': { name: 'w', private: true, packageManager: 'npm@10.0.0', workspaces: ['packages/*'] },
    'turbo.json': { tasks: { build: { outputs: ['dist/**'] } }, ...settings },
    'package-lock.json': {
      name: 'w',
      lockfileVersion: 3,
      requires: true,
      packages: {
        '': { name: 'w', workspaces: ['packages/*'] },
        'node_modules/a': { resolved: 'packages/a', link: true },
        'packages/a': { version: '1.0.0' },
      },
    },
    'packages/a/package.json': { name: 'a', version: '1.0.0', scripts: { build: 'node build.mjs' } },
  };
  for (const [name, value] of Object.entries(files)) await writeFile(`${directory}/${name}`, JSON.stringify(value));
  await writeFile(`${directory}/packages/a/build.mjs`, BUILD);
  await writeFile(`${directory}/packages/a/input.txt`, input);
}

/** Builds with the documented command line, after removing the results and local caches of earlier builds. */
export async function buildWorkspace(
  directory: string,
  port: number,
  token: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<RunResult> {
  for (const path of ['packages/a/dist', 'packages/a/.turbo', '.turbo', 'node_modules/.cache', 'home']) {
    await rm(`${directory}/${path}`, { recursive: true, force: true });
  }
  return runLine(`${configured(line, port, token)} --cache=remote:rw`, directory, {
    HOME: `${directory}/home`,
    DO_NOT_TRACK: '1',
    TURBO_TELEMETRY_DISABLED: '1',
    npm_config_update_notifier: 'false',
    ...environment,
  });
}

export const isHit = (log: string): boolean => log.includes('cache hit, replaying logs');
