import { readFile } from 'node:fs/promises';
import test from 'ava';
import { runCommand } from '../helpers/command-line.js';

const COMMANDS = ['serve', 'residency', 'warm', 'stats', 'verify', 'doctor'];

const page = await readFile('docs/cli.md', 'utf8');
const blocks = [...page.matchAll(/^```text\n(.*?)^```$/gms)].map(([, text = '']) => text);

function flagsOf(text: string): string[] {
  return [...new Set(text.match(/--[a-z][a-z-]+/g))].sort();
}

test('the help names every command, in a line each', async (t) => {
  const help = await runCommand(['--help']);
  t.is(help.code, 0);
  t.is(help.stderr, '');
  const named = [...help.stdout.matchAll(/^ {2}hotblob ([a-z]+) +\S/gm)].map(([, name]) => name);
  t.deepEqual(named, COMMANDS);
  t.deepEqual(await runCommand(['-h']), help);
  t.true(blocks.includes(help.stdout), 'the page has it');
});

for (const name of COMMANDS) {
  test(`the help of ${name} names its options, and the page has it`, async (t) => {
    const help = await runCommand([name, '--help']);
    t.is(help.code, 0);
    t.is(help.stderr, '');
    t.true(help.stdout.startsWith(`hotblob ${name} `));
    t.regex(help.stdout, /\nExit code: 0/);
    t.true(
      help.stdout.split('\n').every((line) => line.length <= 128),
      'lines are short',
    );
    const refused = await runCommand([name, '--no-such-option']);
    t.is(refused.code, 2);
    t.is(refused.stdout, '');
    const [options = '', hint] = refused.stderr.split('\n');
    t.is(hint, `hotblob ${name} --help tells more`);
    const taken = flagsOf(options).filter((flag) => flag !== '--no-such-option');
    t.deepEqual(flagsOf(help.stdout), taken);
    t.true(blocks.includes(help.stdout), help.stdout);
    // Wherever it stands, and whatever else there is.
    t.is((await runCommand([name, 'x', '--bad', '-h'])).stdout, help.stdout);
  });
}

test('the page has no help of what is not there', (t) => {
  t.is(blocks.filter((block) => /^hotblob/.test(block)).length, COMMANDS.length + 1);
});

test('behind -- nothing is an option', async (t) => {
  const { code, stderr } = await runCommand(['residency', '--', '--help']);
  t.is(code, 1);
  t.regex(stderr, /ENOENT.*--help/);
});
