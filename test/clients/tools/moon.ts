import { mkdir, rm, writeFile } from 'node:fs/promises';
import { configurationOf, configured } from '../configuration.js';
import { initRepository } from '../repository.js';
import { runLine } from '../run.js';
import type { Tool } from '../tool.js';

const [settings = '', line = ''] = configurationOf('moon');

const PROJECT = `
language: bash
tasks:
  build:
    command: 'bash build.sh'
    inputs: ['input.txt', 'build.sh']
    outputs: ['out.txt']
`;

export const moon: Tool = {
  name: 'moon',
  async prepare(directory, input) {
    await mkdir(`${directory}/a`, { recursive: true });
    await mkdir(`${directory}/.moon`);
    await writeFile(`${directory}/a/moon.yml`, PROJECT);
    await writeFile(`${directory}/a/build.sh`, 'for i in 1 2 3; do cat input.txt; done > out.txt\n');
    await writeFile(`${directory}/a/input.txt`, input);
    await initRepository(directory, ['.moon', 'a/out.txt', 'home']);
  },
  async build(directory, port, token) {
    // The home directory has compiled plugins, but no results.
    for (const path of ['a/out.txt', '.moon/cache']) {
      await rm(`${directory}/${path}`, { recursive: true, force: true });
    }
    await mkdir(`${directory}/home`, { recursive: true });
    // The name of the setting is the word that stands for the token elsewhere.
    const remote = settings.replace('127.0.0.1:8080', `127.0.0.1:${port}`);
    await writeFile(`${directory}/.moon/workspace.yml`, `projects: ['a']\ntelemetry: false\n${remote}\n`);
    return runLine(configured(line, port, token), directory, { HOME: `${directory}/home` });
  },
  output: 'a/out.txt',
  expected: (input) => input.repeat(3),
  isHit: (log) => log.includes('cached from remote'),
  withUnknownToken: 'builds',
};
