import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import http, { type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import net from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { CommandError } from '../../../src/cli/command.js';
import { parseOperatorUrl } from '../../../src/cli/operator-request.js';
import { type RunningServer, type ServeOptions, serve } from '../../../src/cli/serve/serve.js';
import type { StatsDocument } from '../../../src/cli/stats/stats-document.js';
import { requestStats } from '../../../src/cli/stats/stats-request.js';
import { certificate } from '../../helpers/certificate.js';
import { runCommand, runOnTerminal, startCommand, startOnTerminal } from '../../helpers/command-line.js';
import { temporaryDirectory } from '../../helpers/files.js';
import { until } from '../../helpers/poll.js';

const TOKEN = 'operator-token-0123456789';

interface Served extends RunningServer {
  readonly url: string;
}

async function start(t: ExecutionContext, options: Partial<ServeOptions> = {}): Promise<Served> {
  const server = await serve({
    version: '1.2.3',
    kind: 'directory',
    dir: await temporaryDirectory(t),
    immutable: true,
    verifyReads: undefined,
    maxBytes: 1024 * 1024,
    upstream: undefined,
    port: 0,
    host: '127.0.0.1',
    writable: true,
    protocols: ['plain'],
    access: undefined,
    tls: undefined,
    ...options,
  });
  t.teardown(() => server.close());
  return { ...server, url: `${options.tls ? 'https' : 'http'}://127.0.0.1:${server.port}` };
}

/** Starts a server that is not hotblob, and returns its URL. */
async function startForeign(t: ExecutionContext, listener: RequestListener): Promise<string> {
  const server = http.createServer(listener);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => server.close());
  // The address is an AddressInfo because the server listens on a port.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Returns the lines of the text by their names. */
function parseLines(text: string): Map<string, string> {
  return new Map(
    text
      .trimEnd()
      .split('\n')
      .map((line) => {
        const [, name = '', rest = ''] = /^(\S+(?: \S+)*) {2,}(.*)$/.exec(line) ?? [];
        return [name, rest];
      }),
  );
}

test('prints the statistics of a server as text and as JSON', async (t) => {
  const { url } = await start(t);
  const body = Buffer.alloc(100_000, 'x');
  await fetch(`${url}/key`, { method: 'PUT', body });
  for (let index = 0; index < 3; index++) await (await fetch(`${url}/key`)).arrayBuffer();
  await fetch(`${url}/absent`);
  await until('the store has counted its artifacts', async () => {
    const { store } = (await (await fetch(`${url}/_hotblob/stats`)).json()) as StatsDocument;
    return store.artifacts === 1;
  });
  const plain = await runCommand(['stats', url]);
  t.is(plain.code, 0, plain.stderr);
  const lines = parseLines(plain.stdout);
  t.regex(lines.get('hotblob') ?? '', /^1\.2\.3, up \d+/);
  t.is(lines.get('lookups'), '4, 75% hits');
  t.is(lines.get('responses'), '5, 4 with 200, 1 with 404, 0 in flight');
  t.regex(lines.get('sent') ?? '', /^293 KiB: \d+% \w+/);
  t.regex(lines.get('up to 1 MiB') ?? '', /^first byte <= .* m?s \(50%\), <= .* \(99%\); last byte <= /);
  t.regex(
    lines.get('memory') ?? '',
    /^(normal|constrained|critical), [\d.]+ \wiB of [\d.]+ \wiB in use, constrained from/,
  );
  t.regex(lines.get('connections') ?? '', /^[1-9]\d* HTTP\/1\.1, 0 HTTP\/2 with 0 streams/);
  // Disk usage of a body of 100,000 bytes.
  t.regex(lines.get('store') ?? '', /^1 artifact, 1\d\d KiB of at most 1 MiB, 0 evicted$/);
  t.is(lines.get('now'), undefined);
  t.false(plain.stdout.includes('\u001b'));
  t.notRegex(plain.stdout, /undefined|NaN|null|Infinity|\[object/);

  const json = await runCommand(['stats', '--json', url]);
  const printed = JSON.parse(json.stdout) as StatsDocument;
  const served = (await (await fetch(`${url}/_hotblob/stats`)).json()) as StatsDocument;
  t.deepEqual(printed.handler.responses, served.handler.responses);
  t.deepEqual(printed.handler.sent, served.handler.sent);
  t.is(printed.version, '1.2.3');

  t.is(lines.get('failures'), undefined);
  await fetch(`${url}/large`, { method: 'PUT', body: Buffer.alloc(2 * 1024 * 1024) });
  t.is(parseLines((await runCommand(['stats', url])).stdout).get('failures'), '1 with 413');
});

test('accepts a URL without a scheme, with a mount path, or of a page of the server', async (t) => {
  const { url } = await start(t);
  for (const variant of [url.slice('http://'.length), `${url}/`, `${url}/_hotblob/`, `${url}/_hotblob/stats?x`]) {
    const { code, stderr } = await runCommand(['stats', variant]);
    t.is(code, 0, `${variant}: ${stderr}`);
  }
  const paths: (string | undefined)[] = [];
  const proxy = await startForeign(t, (request, response) => {
    paths.push(request.url);
    response.writeHead(302, { location: 'http://127.0.0.1:9/login' }).end();
  });
  const { code, stderr } = await runCommand(['stats', `${proxy}/caches/main/`]);
  t.is(code, 1);
  t.regex(stderr, /302: redirected to http:\/\/127\.0\.0\.1:9\/login\n$/);
  t.deepEqual(paths, ['/caches/main/_hotblob/stats']);
});

test('the token comes from the environment or the URL, and is never printed', async (t) => {
  const file = join(await temporaryDirectory(t), 'tokens');
  await writeFile(file, `read ${TOKEN} protocols=hotblob\n`);
  const { url } = await start(t, { access: { tokens: file, oidc: undefined, anonymous: undefined } });
  const withToken = url.replace('//', `//any:${TOKEN}@`);
  const withWrongToken = url.replace('//', '//any:wrong-token-0123456789@');
  const env = { HOTBLOB_TOKEN: TOKEN };
  t.is((await runCommand(['stats', url], { env })).code, 0);
  t.is((await runCommand(['stats', withToken])).code, 0);
  const without = await runCommand(['stats', url], { env: { HOTBLOB_TOKEN: undefined } });
  t.is(without.code, 1);
  t.regex(without.stderr, /^hotblob: http:\S+: 401: a token is required; set HOTBLOB_TOKEN/);
  const refused = await runCommand(['stats', withWrongToken], { env });
  t.is(refused.code, 1);
  t.regex(
    refused.stderr,
    /^hotblob: http:\/\/127\.0\.0\.1:\d+: 401: the token is unknown or does not grant read access/,
  );
  t.notRegex(refused.stderr + refused.stdout, /wrong-token/);
});

test('shows the clients that have uploaded, by the names of their tokens', async (t) => {
  const file = join(await temporaryDirectory(t), 'tokens');
  const lines = [
    `write ${TOKEN} scope=main name=main%20builds`,
    `write ${TOKEN}-pr scope=pr name=pr`,
    `read ${TOKEN}-op`,
  ];
  await writeFile(file, `${lines.join('\n')}\n`);
  const { url } = await start(t, { access: { tokens: file, oidc: undefined, anonymous: undefined } });
  const put = (token: string, key: string) =>
    fetch(`${url}/${key}`, { method: 'PUT', body: 'x', headers: { authorization: `Bearer ${token}` } });
  for (const key of ['a', 'b']) t.is((await put(TOKEN, key)).status, 200);
  t.is((await put(`${TOKEN}-pr`, 'a')).status, 200);
  const refused = await runCommand(['stats', url], { env: { HOTBLOB_TOKEN: TOKEN } });
  t.is(refused.code, 1, 'a token with a scope must name the protocol hotblob');
  const { stdout } = await runCommand(['stats', url], { env: { HOTBLOB_TOKEN: `${TOKEN}-op` } });
  t.is(parseLines(stdout).get('uploads'), '2 by main builds (scope main), 1 by pr (scope pr)');
});

test('if there is no valid response, the reason is printed', async (t) => {
  const { url } = await start(t);
  const page = await startForeign(t, (_request, response) => response.end('<html>It works!</html>'));
  const json = await startForeign(t, (_request, response) =>
    response.end('{"version":"1","uptimeSeconds":1,"handler":{}}'),
  );
  const real = (await (await fetch(`${url}/_hotblob/stats`)).json()) as StatsDocument;
  const future = { ...real, handler: { ...real.handler, openFiles: { count: 1 } } };
  const other = await startForeign(t, (_request, response) => response.end(JSON.stringify(future)));
  const none = await startForeign(t, (_request, response) => response.writeHead(404).end());
  const endless = await startForeign(t, (_request, response) => {
    const more = () => response.write(Buffer.alloc(65_536, 'x'), (error) => error ?? setImmediate(more));
    more();
  });
  const garbled = net.createServer((socket) => socket.on('error', () => {}).end('SSH-2.0-OpenSSH_9.2\r\n'));
  await once(garbled.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => garbled.close());
  const gone = await start(t);
  await gone.close();
  const cases: [string, RegExp][] = [
    [gone.url, /connection refused \(ECONNREFUSED\); is the server running on this port\?/],
    ['http://hotblob.invalid', /cannot resolve host name hotblob\.invalid|request failed/],
    [page, /200: the response has no statistics; is the URL that of a hotblob server of this version\?/],
    [json, /the response has no statistics/],
    [other, /the response has no statistics/],
    [none, /404: the response has no statistics/],
    [endless, /the response has no statistics/],
    [url.replace('http:', 'https:'), /does not speak TLS \(\w+\); is the URL http:\?/],
    [
      `http://127.0.0.1:${(garbled.address() as AddressInfo).port}`,
      /does not speak HTTP \(HPE_\w+\); is the URL https:\?/,
    ],
  ];
  for (const [address, message] of cases) {
    const { code, stdout, stderr } = await runCommand(['stats', address]);
    t.is(code, 1, address);
    t.is(stdout, '');
    t.regex(stderr, /^hotblob: https?:\/\/\S+ .*\n$/, address);
    t.regex(stderr, message, address);
  }
});

test('a request without a response times out', async (t) => {
  const silent = parseOperatorUrl(await startForeign(t, () => {}), undefined, 'stats');
  const { signal } = new AbortController();
  await t.throwsAsync(requestStats(silent, signal, 50), {
    instanceOf: CommandError,
    message: /^http:\S+: no response within 0\.05 seconds$/,
  });
});

test('a certificate that is not trusted is refused, and NODE_EXTRA_CA_CERTS makes it trusted', async (t) => {
  const { cert, key } = await certificate();
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'cert.pem');
  await writeFile(file, cert);
  await writeFile(join(directory, 'key.pem'), key);
  const { url } = await start(t, { tls: { cert: file, key: join(directory, 'key.pem') } });
  const refused = await runCommand(['stats', url]);
  t.is(refused.code, 1);
  t.regex(refused.stderr, /the certificate is not trusted \(\w+\); set NODE_EXTRA_CA_CERTS=FILE/);
  const trusted = await runCommand(['stats', url], { env: { NODE_EXTRA_CA_CERTS: file } });
  t.is(trusted.code, 0, trusted.stderr);
  const plain = await runCommand(['stats', url.replace('https:', 'http:')]);
  t.is(plain.code, 1);
  t.regex(plain.stderr, /: 400: .*; is the URL https:\?/);
});

test('--watch refreshes, shows the rates since the last refresh, and continues when the server is stopped', async (t) => {
  const served = await start(t);
  const { url } = served;
  await fetch(`${url}/key`, { method: 'PUT', body: Buffer.alloc(100_000) });
  const { child, ended } = startCommand(['stats', '--watch', '--interval', '0.1', url]);
  t.teardown(() => child.kill('SIGKILL'));
  const now: string[] = [];
  createInterface(child.stdout).on('line', (line) => {
    if (line.startsWith('now ')) now.push(line);
  });
  let downloads = 0;
  await until('the rates include downloads', async () => {
    for (let index = 0; index < 5; index++) await (await fetch(`${url}/key`)).arrayBuffer();
    downloads += 5;
    return now.some((line) => /^now +[1-9][\d,]* responses\/s, [\d.]+ \wiB\/s \(.*\d% .*\), 100% hits$/.test(line));
  });
  t.true(downloads > 0);
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk;
  });
  await served.close();
  await until('the refused connection is reported', () => /^hotblob: \S+: connection refused/m.test(errors));
  t.is(child.exitCode, null);
  child.kill('SIGINT');
  t.is((await ended).code, 0);
});

test('--watch --json prints one line per refresh; a failed first request ends the command', async (t) => {
  const { url } = await start(t);
  const { child, ended } = startCommand(['stats', '--watch', '--json', '--interval', '0.1', url]);
  t.teardown(() => child.kill('SIGKILL'));
  let lines = 0;
  createInterface(child.stdout).on('line', (line) => {
    lines++;
    t.is((JSON.parse(line) as StatsDocument).version, '1.2.3');
  });
  await until('three refreshes', () => lines >= 3);
  child.kill('SIGTERM');
  t.is((await ended).code, 0);
  const refused = await runCommand(['stats', '--watch', 'http://127.0.0.1:1']);
  t.is(refused.code, 1);
});

test('prints colours only on a terminal', async (t) => {
  const { url } = await start(t);
  const shown = await runOnTerminal('stdout', ['stats', url]);
  t.is(shown.code, 0, shown.stdout);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: every escape sequence starts with it
  t.regex(shown.stdout, /\u001b\[2mhotblob/);
  t.false((await runOnTerminal('stdout', ['stats', url], { env: { NO_COLOR: '1' } })).stdout.includes('\u001b'));
});

test('on a terminal, --watch redraws the screen until ^C', async (t) => {
  const { url } = await start(t);
  const child = startOnTerminal(['stats', '--watch', '--interval', '0.1', url]);
  t.teardown(() => child.kill('SIGKILL'));
  let screen = '';
  child.stdout.on('data', (chunk: Buffer) => {
    screen += chunk;
  });
  const ended = once(child, 'close');
  await until('three refreshes are drawn', () => screen.split('\u001b[H').length > 3);
  child.stdin.write('\u0003');
  t.deepEqual(await ended, [0, null]);
  t.is(screen.split('\u001b[2J').length, 2, 'cleared once');
  t.true(screen.includes('\u001b[K\r\n'), 'the rest of each line is erased');
});

test('refuses invalid arguments', async (t) => {
  const cases: [string[], RegExp][] = [
    [[], /expected one URL/],
    [['ftp://host'], /expected a URL such as/],
    [['http://'], /expected a URL such as/],
    [['http://user:100%@host'], /expected a URL such as/],
    [['--interval', '1', 'host'], /--interval requires --watch/],
    [
      ['--watch', '--interval', '0', 'host'],
      /--interval: expected a number of seconds from 0\.1 to 86400, received '0'/,
    ],
    [['--watch', '--interval', '', 'host'], /--interval: expected/],
    [['--top', '1', 'host'], /unknown option --top; expected one of --watch, --interval, --json/],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await runCommand(['stats', ...args]);
    t.is(code, 2, stderr);
    t.regex(stderr, message);
  }
});
