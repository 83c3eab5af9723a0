import test from 'ava';
import { parseArguments, UsageError } from '../../../src/cli/command.js';
import { parseServeOptions, SERVE_OPTIONS } from '../../../src/cli/serve/serve-options.js';

function parse(...args: string[]) {
  return parseServeOptions('0.0.0', parseArguments(args, SERVE_OPTIONS).values);
}

test('times are given in seconds, sizes with a unit', (t) => {
  t.like(parse('--keep-alive-timeout', '650', '--shutdown-timeout', '0', '--max-upload', '4GiB', '--host', '[::1]'), {
    keepAliveTimeoutMs: 650_000,
    shutdownTimeoutMs: 0,
    maxUploadBytes: 4 * 1024 ** 3,
    host: '::1',
    writable: true,
  });
  t.like(parse(), { keepAliveTimeoutMs: undefined, shutdownTimeoutMs: undefined, maxUploadBytes: undefined });
  t.like(parse('--protocol', 'nx, gradle'), { protocols: ['nx', 'gradle'] });
});

const MISTAKES: readonly [readonly string[], string][] = [
  [['--dir', ''], '--dir: expected a value, received an empty one (is a variable not set?)'],
  [['--dir', '--port', '1'], '--dir: expected a value; write --dir=VALUE if the value starts with a dash'],
  [
    ['--dir=~/cache'],
    "--dir: the shell has not replaced the ~ of '~/cache'; write $HOME instead of ~, or ./~ for a file of this name",
  ],
  [['--port'], '--port: expected a value'],
  [['--port', '8080x'], "--port: expected an integer from 0 to 65535, received '8080x'"],
  [['--port', ' 1'], "--port: expected an integer from 0 to 65535, received ' 1'"],
  [['--writable=yes'], '--writable: expected no value'],
  [['--host', '*'], "--host: expected an address, received '*'; use 0.0.0.0 (IPv4) or :: (all)"],
  [
    ['--host', 'localhost:80'],
    "--host: expected a name or an IP address, received 'localhost:80'; the port belongs to --port",
  ],
  [
    ['--shutdown-timeout', '10s'],
    "--shutdown-timeout: expected a whole number of seconds from 0 to 86400, received '10s'",
  ],
  [
    ['--keep-alive-timeout', '0'],
    "--keep-alive-timeout: expected a whole number of seconds from 1 to 86400, received '0'",
  ],
  [['--max-upload', '0'], "--max-upload: expected a size from 1, received '0'; for no limit, use a size such as 8TiB"],
  [['--max-size', '0'], "--max-size: expected a size from 1, received '0'; for no limit, omit the option"],
  [['--upstream-mode', 'read'], '--upstream-mode requires --upstream'],
  [['--spool-dir', '/tmp'], '--spool-dir requires --upstream'],
  [['--max-spool', '1G'], '--max-spool requires --upstream'],
  [
    ['--upstream', 'http://cache.example.com', '--upstream-mode', 'both'],
    "--upstream-mode: unknown mode 'both'; expected one of read, write, write-back",
  ],
  [
    ['--upstream', 'cache.example.com:80'],
    '--upstream: expected an http: or https: URL such as https://cache.example.com, with the scheme',
  ],
  [
    ['--host', '0.0.0.0', '--port', '80', '--upstream', 'http://user:secret@localhost/x'],
    '--upstream: http://localhost is the address of this server itself; choose another --port',
  ],
  [
    ['--host', 'localhost', '--upstream', 'http://[::1]:8080'],
    '--upstream: http://[::1]:8080 is the address of this server itself; choose another --port',
  ],
  [
    ['--host', '192.0.2.1', '--upstream', 'http://192.0.2.1:8080'],
    '--upstream: http://192.0.2.1:8080 is the address of this server itself; choose another --port',
  ],
];

test('an upstream may have the port of the server at another loopback address', (t) => {
  t.is(parse('--upstream', 'http://127.0.0.2:8080').upstream?.url, 'http://127.0.0.2:8080');
  t.is(parse('--host', '127.0.0.2', '--upstream', 'http://localhost:8080').upstream?.url, 'http://localhost:8080');
});

for (const [args, message] of MISTAKES) {
  test(`${args.join(' ')} is refused`, (t) => {
    t.throws(() => parse(...args), { instanceOf: UsageError, message });
  });
}
