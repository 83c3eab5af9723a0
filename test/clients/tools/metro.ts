import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { configurationOf, configured } from '../configuration.js';
import { runLine } from '../run.js';
import type { Tool } from '../tool.js';

const [config = ''] = configurationOf('Metro');

export const metro: Tool = {
  name: 'metro',
  async prepare(directory, input) {
    await writeFile(`${directory}/input.txt`, input);
  },
  async build(directory, port, token) {
    // Uses the store as the bundler does for one module.
    const script = `
      const { HttpStore } = require(${JSON.stringify(join(process.cwd(), 'node_modules/metro-cache'))});
      const { createHash } = require('node:crypto');
      const { readFileSync, writeFileSync } = require('node:fs');
      const { cacheStores: [store] } = { ${configured(config, port, token)} };
      const input = readFileSync('input.txt', 'utf8');
      const key = Buffer.concat([createHash('sha256').update(input).digest(), Buffer.from('meta')]);
      (async () => {
        let found = await store.get(key);
        if (found) console.log('hit');
        else await store.set(key, (found = { code: input.repeat(10) }));
        writeFileSync('out.txt', found.code);
      })();
    `;
    await writeFile(`${directory}/bundle.cjs`, script);
    return runLine('rm -f out.txt; node bundle.cjs', directory, { HOME: directory });
  },
  output: 'out.txt',
  expected: (input) => input.repeat(10),
  isHit: (log) => log.startsWith('hit'),
  withUnknownToken: 'fails',
};
