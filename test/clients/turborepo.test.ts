import { mkdir, rm, writeFile } from 'node:fs/promises';
import { changed, readmeLines } from './readme-line.js';
import { runLine } from './run.js';
import { testTool } from './tool.js';

const BUILD = `import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
mkdirSync('dist', { recursive: true });
writeFileSync('dist/out.txt', readFileSync('input.txt', 'utf8').repeat(10));
`;
const [line = ''] = readmeLines('Turborepo');

testTurbo('turbo', {}, {});
// Compared by the client: what has changed on its way is no hit, and what lacks the signature is none either.
testTurbo(
  'turbo, signed',
  { remoteCache: { signature: true } },
  {
    TURBO_REMOTE_CACHE_SIGNATURE_KEY: 'a key of the team with 32 bytes or more',
  },
);

function testTurbo(name: string, settings: object, environment: Record<string, string>): void {
  testTool({
    name,
    async prepare(directory, input) {
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
    },
    async build(directory, port, token) {
      for (const path of ['packages/a/dist', 'packages/a/.turbo', '.turbo', 'node_modules/.cache', 'home']) {
        await rm(`${directory}/${path}`, { recursive: true, force: true });
      }
      return runLine(`${changed(line, port, token)} --cache=remote:rw`, directory, {
        HOME: `${directory}/home`,
        DO_NOT_TRACK: '1',
        TURBO_TELEMETRY_DISABLED: '1',
        npm_config_update_notifier: 'false',
        ...environment,
      });
    },
    output: 'packages/a/dist/out.txt',
    expected: (input) => input.repeat(10),
    isHit: (log) => log.includes('cache hit, replaying logs'),
    withWrongToken: 'builds',
    withHurtArtifact: 'builds',
  });
}
