import test from 'ava';
import { openAccess } from '../../../src/cli/serve/open-access.js';
import { formatConfiguration } from '../../../src/cli/serve/print-config.js';
import { readServeArguments } from '../../../src/cli/serve/serve-arguments.js';
import { runCommand, startCommand } from '../../helpers/command-line.js';
import { temporaryDirectory } from '../../helpers/files.js';
import { until } from '../../helpers/poll.js';

const LINES =
  '# two builds\nwrite main-0123456789abcdef scope=main\n  write pr-0123456789abcdefgh scope=pr reads=main\n';

test('HOTBLOB_TOKENS may contain the lines of a token file', async (t) => {
  const { child, ended } = startCommand(['serve', '--dir', await temporaryDirectory(t), '--port', '0'], {
    env: { HOTBLOB_TOKENS: LINES },
  });
  t.teardown(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  await until('the server listens', () => output.includes('access: '));
  t.regex(output, /access: by the tokens in HOTBLOB_TOKENS; no access without a token/);
  t.notRegex(output, /0123456789/);
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0];
  const put = (token: string) =>
    fetch(`${url}/v1/cache/1`, { method: 'PUT', body: token, headers: { authorization: `Bearer ${token}` } });
  t.is((await put('main-0123456789abcdef')).status, 200);
  t.is((await put('pr-0123456789abcdefgh')).status, 200);
  t.is((await put('other-0123456789abcdef')).status, 401);
  child.kill('SIGTERM');
  await ended;
});

test('an invalid line is named without its content, and tokens on the command line are refused', async (t) => {
  const dir = await temporaryDirectory(t);
  const invalid = await runCommand(['serve', '--dir', dir, '--port', '0'], {
    env: { HOTBLOB_TOKENS: 'write secret-0123456789 scopes=main' },
  });
  t.is(invalid.code, 1);
  t.regex(invalid.stderr, /^hotblob: HOTBLOB_TOKENS:1: expected protocols=/);
  const given = await runCommand(['serve', '--dir', dir, '--tokens', 'write secret-0123456789']);
  t.is(given.code, 2);
  t.regex(given.stderr, /^hotblob: serve: --tokens: expected a file; other users can see tokens on the command line/);
  t.notRegex(invalid.stderr + given.stderr, /secret/);
});

for (const text of [
  'Write secret-0123456789',
  'secret-0123456789',
  `secret-${'0123456789'.repeat(40)}`,
  'secret/0123',
]) {
  test(`a value of HOTBLOB_TOKENS that is neither lines nor a file is not shown: ${text.slice(0, 24)}`, async (t) => {
    const serve = readServeArguments('0.0.0', {}, { HOTBLOB_TOKENS: text });
    const error = await t.throwsAsync(
      openAccess(serve.options.access ?? t.fail(), () => {}),
      {
        message:
          "HOTBLOB_TOKENS: expected the path of a file, or lines such as 'write TOKEN'; there is no such file (value not shown)",
      },
    );
    t.is(error?.cause, undefined);
    t.regex(formatConfiguration(serve, ''), /^tokens +HOTBLOB_TOKENS +\(no such file, not shown\)$/m);
  });
}

test('the path of a file in HOTBLOB_TOKENS is shown', async (t) => {
  const dir = await temporaryDirectory(t);
  const serve = readServeArguments('0.0.0', {}, { HOTBLOB_TOKENS: dir });
  await t.throwsAsync(
    openAccess(serve.options.access ?? t.fail(), () => {}),
    { message: new RegExp(`--tokens: .*${dir}`) },
  );
  t.true(formatConfiguration(serve, '').includes(dir));
});
