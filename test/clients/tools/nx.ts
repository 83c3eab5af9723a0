import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { configurationOf, configured } from '../configuration.js';
import { runLine } from '../run.js';
import type { Tool } from '../tool.js';

const BUILD = `import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
mkdirSync('dist', { recursive: true });
writeFileSync('dist/out.txt', readFileSync('input.txt', 'utf8').repeat(10));
`;
const [line = ''] = configurationOf('Nx');

export const nx: Tool = {
  name: 'nx',
  async prepare(directory, input) {
    await mkdir(`${directory}/a`, { recursive: true });
    const target = {
      executor: 'nx:run-commands',
      options: { command: 'node build.mjs', cwd: 'a' },
      outputs: ['{projectRoot}/dist'],
      inputs: ['{projectRoot}/input.txt', '{projectRoot}/build.mjs'],
    };
    const files: Record<string, unknown> = {
      'package.json': { name: 'w', private: true, version: '0.0.0' },
      'nx.json': { targetDefaults: { build: { cache: true } }, neverConnectToCloud: true, useDaemonProcess: false },
      'a/project.json': { name: 'a', targets: { build: target } },
    };
    for (const [name, value] of Object.entries(files)) await writeFile(`${directory}/${name}`, JSON.stringify(value));
    await writeFile(`${directory}/a/build.mjs`, BUILD);
    await writeFile(`${directory}/a/input.txt`, input);
    await symlink(`${process.cwd()}/node_modules`, `${directory}/node_modules`);
  },
  async build(directory, port, token) {
    for (const path of ['a/dist', 'cache', 'data', 'home']) {
      await rm(`${directory}/${path}`, { recursive: true, force: true });
    }
    return runLine(configured(line, port, token), directory, {
      HOME: `${directory}/home`,
      NX_DAEMON: 'false',
      NX_NO_CLOUD: 'true',
      NX_TUI: 'false',
      NX_CACHE_DIRECTORY: `${directory}/cache`,
      NX_WORKSPACE_DATA_DIRECTORY: `${directory}/data`,
    });
  },
  output: 'a/dist/out.txt',
  expected: (input) => input.repeat(10),
  isHit: (log) => log.includes('[remote cache]'),
  // Nx treats every error except a miss as a configuration error.
  withUnknownToken: 'fails',
};
