import { mkdir, rm, writeFile } from 'node:fs/promises';
import { configurationOf, configured } from '../configuration.js';
import { runLine } from '../run.js';
import type { Tool } from '../tool.js';

const [line = ''] = configurationOf('ccache');

export const ccache: Tool = {
  name: 'ccache',
  peers: ['ccache'],
  async prepare(directory, input) {
    await writeFile(`${directory}/a.c`, `const char *text = ${JSON.stringify(input)};\n`);
  },
  async build(directory, port, token) {
    for (const path of ['a.o', 'home']) await rm(`${directory}/${path}`, { recursive: true, force: true });
    await mkdir(`${directory}/home`);
    const environment = {
      HOME: `${directory}/home`,
      CCACHE_DIR: `${directory}/home/ccache`,
      CCACHE_CONFIGPATH: '/dev/null',
      CCACHE_REMOTE_ONLY: '1',
    };
    // The object file itself differs between builds. Its string section does not.
    const show = "objcopy -O binary -j .rodata.str1.1 -j .rodata a.o text && tr -d '\\0' < text > a.txt; ccache -s -v";
    return runLine(`${configured(line, port, token)} && ${show}`, directory, environment);
  },
  output: 'a.txt',
  expected: (input) => input,
  isHit: (log) => /Remote storage:\s+Hits: +1 /.test(log),
  withUnknownToken: 'builds',
};
