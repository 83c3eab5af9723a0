import { readFile } from 'node:fs/promises';
import test from 'ava';
import { SERVE_OPTIONS } from '../../src/cli/serve/serve-options.js';
import { runCommand } from '../helpers/command-line.js';

const COMMANDS = ['serve', 'residency', 'warm', 'stats', 'ls', 'purge', 'verify', 'doctor'];

const page = await readFile('docs/cli.md', 'utf8');
const blocks = [...page.matchAll(/^```text\n(.*?)^```$/gms)].map(([, text = '']) => text);

function flagsOf(text: string): string[] {
  return [...new Set(text.match(/--[a-z][a-z-]+/g))].sort();
}

test('the help lists every command on one line', async (t) => {
  const help = await runCommand(['--help']);
  t.is(help.code, 0);
  t.is(help.stderr, '');
  const listed = [...help.stdout.matchAll(/^ {2}([a-z]+) +\S/gm)].map(([, name]) => name);
  t.deepEqual(listed, COMMANDS);
  t.deepEqual(await runCommand(['-h']), help);
  t.true(blocks.includes(help.stdout), 'docs/cli.md contains the help');
});

for (const name of COMMANDS) {
  test(`the help of ${name} lists its options, and docs/cli.md contains it`, async (t) => {
    const help = await runCommand([name, '--help']);
    t.is(help.code, 0);
    t.is(help.stderr, '');
    t.true(help.stdout.startsWith(`Usage: hotblob ${name} `));
    t.regex(help.stdout, /\nExit code: 0/);
    t.true(
      help.stdout.split('\n').every((line) => line.length <= 128),
      'no line is longer than 128 characters',
    );
    const refused = await runCommand([name, '--no-such-option']);
    t.is(refused.code, 2);
    t.is(refused.stdout, '');
    const [error = '', hint] = refused.stderr.split('\n');
    t.is(hint, `Run 'hotblob ${name} --help' for usage.`);
    const accepted = flagsOf(error).filter((flag) => flag !== '--no-such-option');
    // The help of doctor refers to that of serve.
    const shared = name === 'doctor' ? Object.keys(SERVE_OPTIONS).map((each) => `--${each}`) : [];
    t.deepEqual([...flagsOf(help.stdout), ...shared].sort(), accepted);
    t.true(blocks.includes(help.stdout), help.stdout);
    // --help has precedence over other arguments and errors.
    t.is((await runCommand([name, 'x', '--bad', '-h'])).stdout, help.stdout);
  });
}

test('docs/cli.md contains no help of other commands', (t) => {
  t.is(blocks.filter((block) => /^Usage: hotblob/.test(block)).length, COMMANDS.length + 1);
});

test('an argument after -- is not an option', async (t) => {
  const { code, stderr } = await runCommand(['residency', '--', '--help']);
  t.is(code, 1);
  t.regex(stderr, /ENOENT.*--help/);
});
