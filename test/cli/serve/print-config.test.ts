import test from 'ava';
import { runCommand } from '../../helpers/command-line.js';

test('--print-config prints what holds and where it comes from, without secrets', async (t) => {
  const { code, stdout, stderr } = await runCommand(
    ['serve', '--print-config', '--max-size', '50GiB', '--upstream', 'https://user:secret-1@cache.example.com/a'],
    {
      env: {
        HOTBLOB_DIR: '/srv/cache',
        HOTBLOB_NOTHING: 'x',
        HOTBLOB_READ_ONLY: 'yes',
        HOTBLOB_TOKENS: 'write secret-token-0123',
      },
    },
  );
  t.is(code, 0, stderr);
  const lines = new Map(
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => {
        const [name = '', ...rest] = line.split(/ {2,}/);
        return [name, rest];
      }),
  );
  t.deepEqual(lines.get('max-size'), ['command line', '50GiB']);
  t.deepEqual(lines.get('dir'), ['HOTBLOB_DIR', '/srv/cache']);
  t.deepEqual(lines.get('read-only'), ['HOTBLOB_READ_ONLY', 'yes']);
  t.deepEqual(lines.get('port'), ['default', '8080']);
  t.deepEqual(lines.get('immutable'), ['default', 'no']);
  t.deepEqual(lines.get('upstream'), ['command line', 'https://***@cache.example.com/a']);
  t.deepEqual(lines.get('tokens'), ['HOTBLOB_TOKENS', '(lines, not shown)']);
  t.false(stdout.includes('secret'));
  t.regex(stderr, /^hotblob: HOTBLOB_NOTHING is ignored/);
});
