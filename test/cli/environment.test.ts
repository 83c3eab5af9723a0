import test from 'ava';
import { UsageError } from '../../src/cli/command.js';
import { addEnvironment, nameVariable, variableOf } from '../../src/cli/environment.js';
import { readServeArguments } from '../../src/cli/serve/serve-arguments.js';
import { SERVE_OPTIONS } from '../../src/cli/serve/serve-options.js';

test('every option has a variable, and the command line wins', (t) => {
  const { options, variables, warnings } = readServeArguments(
    '0.0.0',
    { port: '9000' },
    {
      HOTBLOB_PORT: '8000',
      HOTBLOB_DIR: '/srv/cache',
      HOTBLOB_MAX_SIZE: '50GiB',
      HOTBLOB_ALLOW_HOST: 'a.example.com, b.example.com',
      HOTBLOB_WRITE_ONCE: 'true',
      HOTBLOB_VERIFY_READS: '0',
      HOTBLOB_STORE: '',
      HOTBLOB_TOKEN: 'secret',
      OTHER: 'x',
    },
  );
  t.like(options, { port: 9000, dir: '/srv/cache', maxBytes: 50 * 1024 ** 3, writeOnce: true, kind: undefined });
  t.deepEqual(options.allowedHosts, ['a.example.com', 'b.example.com']);
  t.is(options.verifyReads, undefined);
  t.deepEqual(
    [...variables].sort(),
    ['dir', 'max-size', 'allow-host', 'write-once'].map((name) => [name, variableOf(name)]).sort(),
  );
  t.deepEqual(warnings, []);
});

test('names of variables are unique', (t) => {
  const names = Object.keys(SERVE_OPTIONS).map(variableOf);
  t.is(new Set(names).size, names.length);
  t.true(names.every((name) => /^HOTBLOB_[A-Z_]+$/.test(name)));
});

test('a mistake in a variable names the variable', (t) => {
  for (const [environment, message] of [
    [{ HOTBLOB_PORT: '8080x' }, /^HOTBLOB_PORT: --port: expected an integer from 0 to 65535, received '8080x'$/],
    [{ HOTBLOB_WRITABLE: 'on' }, /^HOTBLOB_WRITABLE: expected true or false, received 'on'$/],
    [{ HOTBLOB_MAX_SIZE: '50 GB' }, /^HOTBLOB_MAX_SIZE: --max-size: /],
  ] as const) {
    t.throws(() => readServeArguments('0.0.0', {}, environment), { instanceOf: UsageError, message });
  }
  t.throws(() => readServeArguments('0.0.0', { port: 'x' }, { HOTBLOB_DIR: '/a' }), { message: /^--port: / });
  const other = new Error('--port: no');
  t.is(nameVariable(other, new Map([['port', 'HOTBLOB_PORT']])), other);
});

test('variables that are no options, and those of Kubernetes, are ignored with a line', (t) => {
  const { values, warnings } = addEnvironment({}, SERVE_OPTIONS, {
    HOTBLOB_PORT: 'tcp://10.0.0.1:8080',
    HOTBLOB_PORT_8080_TCP_ADDR: '10.0.0.1',
    HOTBLOB_SERVICE_HOST: '10.0.0.1',
    HOTBLOB_MAXSIZE: '1GiB',
  });
  t.deepEqual(values, {});
  t.is(warnings.length, 2);
  t.regex(warnings[0] ?? '', /^HOTBLOB_PORT is ignored: it is the address of a service of Kubernetes; use --port$/);
  t.regex(warnings[1] ?? '', /^HOTBLOB_MAXSIZE is ignored: .*did you mean HOTBLOB_MAX_SIZE\?/);
});
