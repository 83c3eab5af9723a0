import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import test from 'ava';
import { settingsOf } from '../src/options.js';
import { memoryStore } from '../src/stores/memory.js';

const readme = await readFile('README.md', 'utf8');
const snippets = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code = '']) => code);

// Below the package's own folder, so that `hotblob` is this package. A port of its own for each server, and a line that tells it.
const PREAMBLE = `
import net from 'node:net';
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  this.once('listening', () => console.log(this.address().port));
  return listen.call(this, 0, '127.0.0.1', ...args.slice(1));
};
`;

for (const [index, snippet] of snippets.entries()) {
  const title = /^import \{? ?(\w+)/.exec(snippet)?.[1] ?? '';
  test(`snippet ${index + 1} (${title}) runs and answers a miss`, async (t) => {
    const dir = await mkdtemp('dist/.readme-');
    t.teardown(() => rm(dir, { recursive: true }));
    await writeFile(`${dir}/preamble.mjs`, PREAMBLE);
    await writeFile(`${dir}/snippet.mts`, snippet.replaceAll('./artifacts', `./${dir}/artifacts`));
    const child = spawn(process.execPath, ['--import=tsx', `--import=./${dir}/preamble.mjs`, `./${dir}/snippet.mts`]);
    t.teardown(() => child.kill('SIGKILL'));
    const errors: string[] = [];
    child.stderr.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
    if (!/\.listen\(/.test(snippet)) {
      const [code] = (await once(child, 'exit')) as [number];
      t.is(code, 0, errors.join(''));
      return;
    }
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const exit = once(child, 'exit').then(() => ({ value: undefined }));
    const { value: port } = await Promise.race([lines.next(), exit]);
    t.truthy(port, errors.join(''));
    const answer = await fetch(`http://127.0.0.1:${port}/cache/some/key`);
    t.is(answer.status, 404);
    t.deepEqual(await answer.json(), { message: 'Not found.' });
  });
}

test('the snippets are there', (t) => {
  t.true(snippets.length >= 4);
});

test('the option table names every option, and the defaults that the code has', (t) => {
  const table = /`createHandler\(options\)`.*?\n\n(.*?)\n\n/s.exec(readme)?.[1] ?? '';
  const rows = [...table.matchAll(/^\| `(\w+)` \| (.*?) \|/gm)];
  const documented = new Map(rows.map(([, name = '', text = '']) => [name, text]));
  const error = t.throws(() => settingsOf({ store: memoryStore(), noSuchOption: 1 } as never));
  const known = /one of the options (.*), found/.exec(error?.message ?? '')?.[1]?.split(', ');
  t.deepEqual([...documented.keys()].sort(), known?.sort());

  const { mountPath, fallthrough, maxUploadBytes, policy } = settingsOf({ store: memoryStore() });
  t.is(documented.get('mountPath'), `\`'${mountPath || '/'}'\``);
  t.is(documented.get('fallthrough'), `\`${fallthrough}\``);
  t.is(documented.get('maxUploadBytes'), `\`${maxUploadBytes}\``);
  t.is(documented.get('map'), `\`'${policy.map}'\``);
  t.is(policy.only, undefined);
});

test('the table of the command line names its options, and only those', async (t) => {
  const help = spawn(process.execPath, ['dist/cli.js', '--help']);
  const lines: string[] = [];
  for await (const line of createInterface(help.stdout)) lines.push(line);
  const flags = (text: string) => [...new Set(text.match(/--[a-z][a-z-]+/g))].sort();
  const documented = flags(readme.slice(readme.indexOf('| `--dir'), readme.indexOf('`GET /_hotblob/ready`')));
  const offered = flags(lines.join('\n')).filter((flag) => flag !== '--help' && flag !== '--version');
  t.deepEqual(documented, offered);
});
