import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import http, { type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import net from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { type RunningServer, type ServeOptions, serve } from '../../../src/cli/serve/serve.js';
import type { StatsDocument } from '../../../src/cli/stats/stats-document.js';
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

/** Another kind of server, by its URL. */
async function foreign(t: ExecutionContext, listener: RequestListener): Promise<string> {
  const server = http.createServer(listener);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => server.close());
  // it listens on a port
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The lines that people see, by their names. */
function linesOf(text: string): Map<string, string> {
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

test('what a server has done is told to people and to programs', async (t) => {
  const { url } = await start(t);
  const body = Buffer.alloc(100_000, 'x');
  await fetch(`${url}/key`, { method: 'PUT', body });
  for (let index = 0; index < 3; index++) await (await fetch(`${url}/key`)).arrayBuffer();
  await fetch(`${url}/absent`);
  await until('the store has been measured', async () => {
    const { store } = (await (await fetch(`${url}/_hotblob/stats`)).json()) as StatsDocument;
    return store.artifacts === 1;
  });
  const people = await runCommand(['stats', url]);
  t.is(people.code, 0, people.stderr);
  const lines = linesOf(people.stdout);
  t.regex(lines.get('hotblob') ?? '', /^1\.2\.3, up \d+/);
  t.is(lines.get('lookups'), '4, 75% hits');
  t.is(lines.get('responses'), '5, 4 of 200, 1 of 404, 0 under way');
  t.regex(lines.get('sent') ?? '', /^293 KiB: \d+% \w+/);
  t.regex(lines.get('to 1 MiB') ?? '', /^first byte <= .* ms \(50%\), <= .* \(99%\); all <= /);
  t.regex(
    lines.get('memory') ?? '',
    /^(normal|constrained|critical), [\d.]+ \wiB of [\d.]+ \wiB in use, constrained from/,
  );
  t.regex(lines.get('connections') ?? '', /^[1-9]\d* HTTP\/1\.1, 0 HTTP\/2 with 0 streams/);
  t.is(lines.get('store'), '1 artifact, 97.7 KiB of 1 MiB, 0 evicted');
  t.is(lines.get('now'), undefined);
  t.false(people.stdout.includes('\u001b'));
  t.notRegex(people.stdout, /undefined|NaN|null|Infinity|\[object/);

  const programs = await runCommand(['stats', '--json', url]);
  const told = JSON.parse(programs.stdout) as StatsDocument;
  const itself = (await (await fetch(`${url}/_hotblob/stats`)).json()) as StatsDocument;
  t.deepEqual(told.handler.responses, itself.handler.responses);
  t.deepEqual(told.handler.sent, itself.handler.sent);
  t.is(told.version, '1.2.3');
});

test('a URL may leave out http:, and have a path or a page of the server', async (t) => {
  const { url } = await start(t);
  for (const given of [url.slice('http://'.length), `${url}/`, `${url}/_hotblob/`, `${url}/_hotblob/stats?x`]) {
    const { code, stderr } = await runCommand(['stats', given]);
    t.is(code, 0, `${given}: ${stderr}`);
  }
  const paths: (string | undefined)[] = [];
  const proxy = await foreign(t, (request, response) => {
    paths.push(request.url);
    response.writeHead(302, { location: 'http://127.0.0.1:9/login' }).end();
  });
  const { code, stderr } = await runCommand(['stats', `${proxy}/caches/main/`]);
  t.is(code, 1);
  t.regex(stderr, /answers that it is elsewhere \(302\): http:\/\/127\.0\.0\.1:9\/login\n$/);
  t.deepEqual(paths, ['/caches/main/_hotblob/stats']);
});

test('a token is taken from the environment or from the URL, and never shown', async (t) => {
  const file = join(await temporaryDirectory(t), 'tokens');
  await writeFile(file, `read ${TOKEN} protocols=hotblob\n`);
  const { url } = await start(t, { access: { file, anonymous: undefined } });
  const named = url.replace('//', `//any:${TOKEN}@`);
  const wrong = url.replace('//', '//any:wrong-token-0123456789@');
  const env = { HOTBLOB_TOKEN: TOKEN };
  t.is((await runCommand(['stats', url], { env })).code, 0);
  t.is((await runCommand(['stats', named])).code, 0);
  const without = await runCommand(['stats', url], { env: { HOTBLOB_TOKEN: undefined } });
  t.is(without.code, 1);
  t.regex(without.stderr, /^hotblob: http:\S+ wants a token \(401\): HOTBLOB_TOKEN/);
  const refused = await runCommand(['stats', wrong], { env });
  t.is(refused.code, 1);
  t.regex(refused.stderr, /^hotblob: http:\/\/127\.0\.0\.1:\d+ does not know this token \(401\)/);
  t.notRegex(refused.stderr + refused.stdout, /wrong-token/);
});

test('why there is no answer is said', async (t) => {
  const { url } = await start(t);
  const page = await foreign(t, (_request, response) => response.end('<html>It works!</html>'));
  const json = await foreign(t, (_request, response) => response.end('{"version":"1","uptimeSeconds":1,"handler":{}}'));
  const real = (await (await fetch(`${url}/_hotblob/stats`)).json()) as StatsDocument;
  const future = { ...real, handler: { ...real.handler, openFiles: { count: 1 } } };
  const other = await foreign(t, (_request, response) => response.end(JSON.stringify(future)));
  const none = await foreign(t, (_request, response) => response.writeHead(404).end());
  const endless = await foreign(t, (_request, response) => {
    const more = () => response.write(Buffer.alloc(65_536, 'x'), (error) => error ?? setImmediate(more));
    more();
  });
  const garbled = net.createServer((socket) => socket.on('error', () => {}).end('SSH-2.0-OpenSSH_9.2\r\n'));
  await once(garbled.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => garbled.close());
  const gone = await start(t);
  await gone.close();
  const cases: [string, RegExp][] = [
    [gone.url, /is not there: nobody listens on that port/],
    ['http://hotblob.invalid', /is not there: nobody knows the name hotblob\.invalid|cannot be/],
    [page, /is no hotblob server, or one of another version: it has no \/_hotblob\/stats as this one knows it \(200\)/],
    [json, /is no hotblob server, or one of another version/],
    [other, /is no hotblob server, or one of another version/],
    [none, /is no hotblob server, .* \(404\)/],
    [endless, /is no hotblob server/],
    [url.replace('http:', 'https:'), /does not speak TLS there \(\w+\): is it http:\?/],
    [
      `http://127.0.0.1:${(garbled.address() as AddressInfo).port}`,
      /does not speak HTTP there \(HPE_\w+\): is it https:\?/,
    ],
  ];
  for (const [given, message] of cases) {
    const { code, stdout, stderr } = await runCommand(['stats', given]);
    t.is(code, 1, given);
    t.is(stdout, '');
    t.regex(stderr, /^hotblob: https?:\/\/\S+ .*\n$/, given);
    t.regex(stderr, message, given);
  }
});

test('a server that does not answer has ten seconds', async (t) => {
  const silent = await foreign(t, () => {});
  const startedAt = performance.now();
  const { code, stderr } = await runCommand(['stats', silent]);
  t.is(code, 1);
  t.regex(stderr, /has not answered within 10 seconds\n$/);
  t.true(performance.now() - startedAt >= 9_900);
});

test('certificates that are not trusted are told from those that are', async (t) => {
  const { cert, key } = await certificate();
  const file = join(await temporaryDirectory(t), 'cert.pem');
  await writeFile(file, cert);
  const { url } = await start(t, { tls: { cert: Buffer.from(cert), key: Buffer.from(key) } });
  const refused = await runCommand(['stats', url]);
  t.is(refused.code, 1);
  t.regex(
    refused.stderr,
    /shows a certificate that nobody trusted has signed \(\w+\): NODE_EXTRA_CA_CERTS=FILE names one/,
  );
  const trusted = await runCommand(['stats', url], { env: { NODE_EXTRA_CA_CERTS: file } });
  t.is(trusted.code, 0, trusted.stderr);
  const plain = await runCommand(['stats', url.replace('https:', 'http:')]);
  t.is(plain.code, 1);
  t.regex(plain.stderr, /does not speak HTTP there \(\w+\): is it https:\?/);
});

test('it asks again and again, says what has happened since, and outlives the server', async (t) => {
  const served = await start(t);
  const { url } = served;
  await fetch(`${url}/key`, { method: 'PUT', body: Buffer.alloc(100_000) });
  const { child, ended } = startCommand(['stats', '--watch', '--interval', '0.1', url]);
  t.teardown(() => child.kill('SIGKILL'));
  const now: string[] = [];
  createInterface(child.stdout).on('line', (line) => {
    if (line.startsWith('now ')) now.push(line);
  });
  let asked = 0;
  await until('it has seen downloads', async () => {
    for (let index = 0; index < 5; index++) await (await fetch(`${url}/key`)).arrayBuffer();
    asked += 5;
    return now.some((line) => /^now +[1-9][\d,]* responses\/s, [\d.]+ \wiB\/s \(.*\d% .*\), 100% hits$/.test(line));
  });
  t.true(asked > 0);
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk;
  });
  await served.close();
  await until('it says that nobody is there', () => /^hotblob: \S+ is not there/m.test(said));
  t.is(child.exitCode, null);
  child.kill('SIGINT');
  t.is((await ended).code, 0);
});

test('to programs it says a line at a time', async (t) => {
  const { url } = await start(t);
  const { child, ended } = startCommand(['stats', '--watch', '--json', '--interval', '0.1', url]);
  t.teardown(() => child.kill('SIGKILL'));
  let lines = 0;
  createInterface(child.stdout).on('line', (line) => {
    lines++;
    t.is((JSON.parse(line) as StatsDocument).version, '1.2.3');
  });
  await until('three answers', () => lines >= 3);
  child.kill('SIGTERM');
  t.is((await ended).code, 0);
  const gone = await runCommand(['stats', '--watch', 'http://127.0.0.1:1']);
  t.is(gone.code, 1, 'who never was there is not waited for');
});

test('colours are for terminals', async (t) => {
  const { url } = await start(t);
  const shown = await runOnTerminal('stdout', ['stats', url]);
  t.is(shown.code, 0, shown.stdout);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it begins every order to a terminal
  t.regex(shown.stdout, /\u001b\[2mhotblob/);
  t.false((await runOnTerminal('stdout', ['stats', url], { env: { NO_COLOR: '1' } })).stdout.includes('\u001b'));
});

test('on a terminal it stays in its place, until ^C', async (t) => {
  const { url } = await start(t);
  const child = startOnTerminal(['stats', '--watch', '--interval', '0.1', url]);
  t.teardown(() => child.kill('SIGKILL'));
  let screen = '';
  child.stdout.on('data', (chunk: Buffer) => {
    screen += chunk;
  });
  const ended = once(child, 'close');
  await until('three times', () => screen.split('\u001b[H').length > 3);
  child.stdin.write('\u0003');
  t.deepEqual(await ended, [0, null]);
  t.is(screen.split('\u001b[2J').length, 2, 'cleared once');
  t.true(screen.includes('\u001b[K\r\n'), 'nothing of longer lines stays');
});

test('what makes no sense is refused', async (t) => {
  const cases: [string[], RegExp][] = [
    [[], /expected one URL/],
    [['ftp://host'], /expected a URL such as/],
    [['http://'], /expected a URL such as/],
    [['http://user:100%@host'], /expected a URL such as/],
    [['--interval', '1', 'host'], /--interval goes with --watch/],
    [['--watch', '--interval', '0', 'host'], /--interval: expected 0\.1 to 86400 seconds, received '0'/],
    [['--watch', '--interval', '', 'host'], /--interval: expected/],
    [['--top', '1', 'host'], /--top is none of its options: --watch, --interval, --json/],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await runCommand(['stats', ...args]);
    t.is(code, 2, stderr);
    t.regex(stderr, message);
  }
});
