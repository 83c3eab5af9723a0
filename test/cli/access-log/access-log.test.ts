import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { LineFile } from '../../../src/cli/access-log/line-file.js';
import { type ServeOptions, serve } from '../../../src/cli/serve/serve.js';
import { TrustedProxies } from '../../../src/cli/serve/trusted-proxies.js';
import { startCommand } from '../../helpers/command-line.js';
import { temporaryDirectory } from '../../helpers/files.js';
import { until } from '../../helpers/poll.js';

const TOKEN = 'main-0123456789abcdef';

async function start(t: ExecutionContext, options: Partial<ServeOptions> = {}) {
  const dir = await temporaryDirectory(t);
  const path = join(dir, 'access.log');
  const tokens = join(dir, 'tokens');
  await writeFile(tokens, `write ${TOKEN} scope=main name=main%20builds\n`, { mode: 0o600 });
  const server = await serve({
    version: '1.2.3',
    kind: 'directory',
    dir: join(dir, 'artifacts'),
    immutable: undefined,
    verifyReads: undefined,
    maxBytes: undefined,
    upstream: undefined,
    port: 0,
    host: '127.0.0.1',
    writable: true,
    protocols: ['nx', 'plain'],
    access: { tokens, oidc: undefined, anonymous: undefined },
    accessLog: { path, format: 'json' },
    tls: undefined,
    ...options,
  });
  t.teardown(() => server.close());
  const url = `http://127.0.0.1:${server.port}`;
  const ask = (target: string, init: RequestInit = {}) =>
    fetch(`${url}${target}`, { ...init, headers: { authorization: `Bearer ${TOKEN}`, ...init.headers } });
  return { url, path, ask };
}

/** Waits for a number of lines, and returns them. */
async function lines(path: string, count: number): Promise<string[]> {
  const read = async (): Promise<string[]> => (await readFile(path, 'utf8')).split('\n').slice(0, -1);
  await until(`${count} lines`, async () => (await read()).length >= count);
  return read();
}

test('writes a JSON line for each request, also of the operator pages', async (t) => {
  const { path, ask, url } = await start(t);
  const put = await ask('/v1/cache/1', { method: 'PUT', body: 'artifact', headers: { 'x-request-id': 'build-7.3' } });
  t.is(put.headers.get('x-request-id'), 'build-7.3');
  const get = await ask('/v1/cache/1?a=%1b', {
    headers: { 'x-request-id': 'not valid', 'user-agent': 'a"b\u001b' },
  }).catch(() => ask('/v1/cache/1?a=%1b', { headers: { 'x-request-id': 'not valid', 'user-agent': 'a"b' } }));
  await get.arrayBuffer();
  t.regex(get.headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
  t.is((await fetch(`${url}/v1/cache/2`)).status, 401);
  t.is((await fetch(`${url}/_hotblob/live`)).status, 200);
  const entries = (await lines(path, 4)).map((line) => JSON.parse(line));
  t.like(entries[0], {
    id: 'build-7.3',
    client: '127.0.0.1',
    method: 'PUT',
    path: '/v1/cache/1',
    http: '1.1',
    protocol: 'nx',
    scope: 'main',
    key: 'nx/1',
    status: 200,
    bytes: 0,
    received: 8,
    subject: 'main builds',
  });
  t.like(entries[1], {
    method: 'GET',
    path: '/v1/cache/1?a=%1b',
    status: 200,
    bytes: 8,
    agent: 'a"b',
    subject: 'main builds',
  });
  t.is(typeof entries[1].source, 'string');
  t.true(entries[1].milliseconds > 0 && Math.abs(Date.now() - Date.parse(entries[1].time)) < 60_000);
  t.like(entries[2], { status: 401, protocol: 'nx', key: 'nx/2' });
  t.false('subject' in entries[2]);
  t.like(entries[3], { path: '/_hotblob/live', status: 200 });
});

test('writes the combined format, in which no client can forge a line', async (t) => {
  const { path, ask } = await start(t, { accessLog: undefined });
  t.truthy(ask);
  const log = join(await temporaryDirectory(t), 'combined.log');
  const { ask: asked } = await start(t, { accessLog: { path: log, format: 'combined' } });
  await asked('/v1/cache/1', { headers: { 'user-agent': 'x" 200 0 "y' } });
  const [line = ''] = await lines(log, 1);
  t.regex(
    line,
    /^127\.0\.0\.1 - main_builds \[\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET \/v1\/cache\/1 HTTP\/1\.1" 404 0 "-" "x\\x22 200 0 \\x22y"$/,
  );
  await t.throwsAsync(readFile(path), { code: 'ENOENT' });
});

test('the address of the client comes from a trusted proxy', async (t) => {
  const { path, ask } = await start(t, { trustedProxies: new TrustedProxies(['loopback']) });
  await ask('/v1/cache/1', { headers: { 'x-forwarded-for': '203.0.113.9' } });
  t.is(JSON.parse((await lines(path, 1))[0] ?? '').client, '203.0.113.9');
});

test('continues in a new file when the log was renamed, at once on SIGUSR1', async (t) => {
  const { path, ask } = await start(t);
  await ask('/a');
  await lines(path, 1);
  await rename(path, `${path}.1`);
  process.kill(process.pid, 'SIGUSR1');
  await until('the signal has arrived, and a line is in the new file', async () => {
    await ask('/b');
    return readFile(path, 'utf8').then(
      (text) => text.includes('"/b"'),
      () => false,
    );
  });
  t.true((await readFile(`${path}.1`, 'utf8')).includes('"/a"'));
});

test('a pipe that nobody reads costs lines, not requests, and the process has no debugger', async (t) => {
  const dir = await temporaryDirectory(t);
  const { child, ended } = startCommand(['serve', '--dir', `${dir}/artifacts`, '--port', '0', '--access-log', '-']);
  t.teardown(() => child.kill('SIGKILL'));
  const chunks: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [first] = (await once(child.stdout, 'data')) as [Buffer];
  const url = /http:\/\/\S+/.exec(String(first))?.[0];
  child.stdout.pause();
  child.kill('SIGUSR1');
  // More than the pipe and the lines that wait can hold.
  const path = `/${'k'.repeat(1000)}`;
  for (let round = 0; round < 40; round++) {
    const statuses = await Promise.all(Array.from({ length: 100 }, async () => (await fetch(url + path)).status));
    t.true(statuses.every((status) => status === 404));
  }
  child.stdout.resume();
  child.kill('SIGTERM');
  t.is((await ended).code, 0);
  t.notRegex(Buffer.concat(chunks).toString(), /Debugger|inspector/);
});

test('lines beyond what can wait are dropped and counted', async (t) => {
  const dir = await temporaryDirectory(t);
  const fifo = join(dir, 'fifo');
  execFileSync('mkfifo', [fifo]);
  const reader = startCommand([], { before: `exec 3< ${fifo}; exec tail -f /dev/null` });
  t.teardown(() => reader.child.kill('SIGKILL'));
  let file: LineFile | undefined;
  await until('the pipe has a reader', async () => {
    file = await LineFile.open(fifo).catch(() => undefined);
    return file !== undefined;
  });
  const line = 'x'.repeat(10_000);
  for (let index = 0; index < 1000; index++) file?.add(line);
  t.true((file?.dropped ?? 0) > 400);
  await file?.close(0);
});

test('a file that cannot be opened is an error at start', async (t) => {
  const dir = await temporaryDirectory(t);
  await t.throwsAsync(LineFile.open(join(dir, 'missing', 'access.log')), { message: /^--access-log: .*ENOENT/ });
  const socket = createServer().listen(join(dir, 'socket'));
  await once(socket, 'listening');
  t.teardown(() => socket.close());
  await t.throwsAsync(LineFile.open(join(dir, 'socket')), { message: /^--access-log: .*ENXIO/ });
});
