import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import test from 'ava';
import { settingsOf } from '../src/options.js';
import { serverSettingsOf } from '../src/server/options.js';
import { memoryStore } from '../src/stores/memory.js';

const readme = await readFile('README.md', 'utf8');
const snippets = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code = '']) => code);

// Within the package's own folder, so that `hotblob` is this package. A port of its own for each server, and a line that tells it.
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
    const dir = await mkdtemp('test/.snippet-');
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

/** The option table below a call: names and defaults. */
function tableOf(call: string): Map<string, string> {
  const [, rest = ''] = readme.split(`\`${call}\``);
  const table = /\n\n(\|.*?)\n\n/s.exec(rest)?.[1] ?? '';
  return new Map([...table.matchAll(/^\| `(\w+)` \| (.*?) \|/gm)].map(([, name = '', text = '']) => [name, text]));
}

/** The options that an error about an unknown one names. */
function namesIn(error: Error | undefined): string[] {
  return (
    /one of the options (.*), found/
      .exec(error?.message ?? '')?.[1]
      ?.split(', ')
      .sort() ?? []
  );
}

test('the option table of the server names every option, and the defaults that the code has', (t) => {
  const documented = tableOf('createServer(listener, options)');
  t.deepEqual([...documented.keys()].sort(), namesIn(t.throws(() => serverSettingsOf({ noSuchOption: 1 } as never))));
  for (const [name, value] of Object.entries(serverSettingsOf({}).limits)) t.is(documented.get(name), `\`${value}\``);
});

test('the option table names every option, and the defaults that the code has', (t) => {
  const documented = tableOf('createHandler(options)');
  const error = t.throws(() => settingsOf({ store: memoryStore(), noSuchOption: 1 } as never));
  t.deepEqual([...documented.keys()].sort(), namesIn(error));

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
