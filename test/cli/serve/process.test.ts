import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect, type TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import type { StatsDocument } from '../../../src/cli/serve/status-pages.js';
import { type Certificate, generateCertificate } from '../../helpers/certificate.js';
import { type Launch, startCommand, startOnTerminal } from '../../helpers/command-line.js';
import { temporaryDirectory } from '../../helpers/files.js';
import { testWith } from '../../helpers/peers.js';
import { until } from '../../helpers/poll.js';

/** Starts `hotblob serve` on a free port. Collects the lines of both streams. */
async function serve(t: ExecutionContext, args: readonly string[] = [], launch?: Launch) {
  const dir = join(await temporaryDirectory(t), 'artifacts');
  const port = args.includes('--port') ? [] : ['--port', '0'];
  const command = startCommand(['serve', '--dir', dir, ...port, ...args], launch);
  t.teardown(() => command.child.kill('SIGKILL'));
  const lines: string[] = [];
  const errors: string[] = [];
  createInterface(command.child.stdout).on('line', (line) => lines.push(line));
  createInterface(command.child.stderr).on('line', (line) => errors.push(line));
  return { ...command, dir, lines, errors };
}

async function portOf({ lines }: { lines: readonly string[] }): Promise<number> {
  await until('the server prints its address', () => lines.length > 1);
  return Number(/:(\d+) \(/.exec(lines[0] ?? '')?.[1]);
}

test('a port in use and an address of another machine are one line with the remedy', async (t) => {
  const other = createServer();
  await once(other.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => other.close());
  const { port } = other.address() as AddressInfo; // an AddressInfo because the server listens on a port
  const inUse = await serve(t, ['--port', String(port)]);
  t.is((await inUse.ended).code, 1);
  t.deepEqual(inUse.errors, [
    `hotblob: --port: another process listens on port ${port} of 127.0.0.1; stop it, or choose another port (0: any free port)`,
  ]);
  const elsewhere = await serve(t, ['--host', '192.0.2.1']);
  t.is((await elsewhere.ended).code, 1);
  t.regex(elsewhere.errors.join('\n'), /^hotblob: --host: 192\.0\.2\.1 is not an address of this machine; use .*$/);
});

test('the second line says who may read and write', async (t) => {
  const server = await serve(t);
  await portOf(server);
  t.regex(server.lines[1] ?? '', /^access: read and write for every program on this machine/);
});

test('with --shutdown-timeout 0, SIGTERM ends requests in flight at once', async (t) => {
  const server = await serve(t, ['--shutdown-timeout', '0']);
  const upload = http.request({ port: await portOf(server), method: 'PUT', path: '/key' });
  const failed = once(upload, 'error');
  upload.write('x');
  await until('the upload has begun', async () => (await readStats(server)).handler.active === 1);
  server.child.kill('SIGTERM');
  t.is((await server.ended).code, 0);
  await failed;
});

async function readStats(server: { lines: readonly string[] }): Promise<StatsDocument> {
  const response = await fetch(`http://127.0.0.1:${await portOf(server)}/_hotblob/stats`);
  return (await response.json()) as StatsDocument;
}

/**
 * Returns a value of NODE_OPTIONS with which the server never finishes its start: `listen` only creates the file of the environment
 * variable STARTED, and the process continues.
 */
async function neverListening(t: ExecutionContext) {
  const directory = await temporaryDirectory(t);
  const hook = join(directory, 'never-listen.cjs');
  const started = join(directory, 'started');
  await writeFile(
    hook,
    `require('node:net').Server.prototype.listen = function () {
  setInterval(() => {}, 1000);
  require('node:fs').writeFileSync(process.env.STARTED, '');
  return this;
};`,
  );
  return {
    env: { NODE_OPTIONS: `--require=${hook}`, STARTED: started },
    started: () => until('the server is about to listen', () => existsSync(started)),
  };
}

test('SIGTERM before the port is open ends the server', async (t) => {
  const { env, started } = await neverListening(t);
  const server = await serve(t, [], { env });
  await started();
  server.child.kill('SIGTERM');
  t.like(await server.ended, { code: 0, stdout: '' });
});

testWith(test, 'root')('as process 1 of a container, SIGTERM before the port is open ends the server', async (t) => {
  const { env, started } = await neverListening(t);
  const args = ['--pid', '--fork', '--kill-child', process.execPath, 'dist/cli.js', 'serve'];
  const child = spawn('unshare', [...args, '--dir', join(await temporaryDirectory(t), 'artifacts')], {
    env: { ...process.env, ...env },
  });
  t.teardown(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  await started();
  const pid = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8');
  process.kill(Number(pid), 'SIGTERM');
  t.deepEqual(await exited, [0, null]);
});

for (const [title, before] of [
  ['without a reader', 'exec 1> >(:) 2> >(:)'],
  ['their disk is full', 'exec 1>/dev/full 2>/dev/full'],
] as const) {
  test(`the server goes on if its output and its log cannot be written: ${title}`, async (t) => {
    const directory = await temporaryDirectory(t);
    const portFile = join(directory, 'port');
    const env = { DEBUG: 'hotblob:*', PORT_FILE: portFile, NODE_OPTIONS: await reportingPort(t) };
    const server = await serve(t, [], { before, env });
    await until('the server listens', async () => (await readFile(portFile, 'utf8').catch(() => '')) !== '');
    const url = `http://127.0.0.1:${await readFile(portFile, 'utf8')}`;
    for (const status of [404, 404, 404]) t.is((await fetch(`${url}/key`)).status, status);
    server.child.kill('SIGTERM');
    t.is((await server.ended).code, 0);
  });
}

/** Writes the port to a file, because the output has no reader. */
async function reportingPort(t: ExecutionContext): Promise<string> {
  const file = join(await temporaryDirectory(t), 'report-port.cjs');
  await writeFile(
    file,
    `const { Server } = require('node:net');
const { listen } = Server.prototype;
Server.prototype.listen = function (...args) {
  this.once('listening', () => {
    const { port } = this.address(); // undefined for the lock of the store
    if (port !== undefined) require('node:fs').writeFileSync(process.env.PORT_FILE, String(port));
  });
  return listen.apply(this, args);
};`,
  );
  return `--require=${file}`;
}

test('a remote store that fails and returns is one line each on stderr', async (t) => {
  const answers = { status: 503 };
  const remote = http.createServer(({ method }, response) =>
    response.writeHead(method === 'PUT' ? 200 : answers.status).end(),
  );
  await once(remote.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => remote.close());
  const { port } = remote.address() as AddressInfo; // an AddressInfo because the server listens on a port
  const server = await serve(t, ['--store', 'directory', '--upstream', `http://127.0.0.1:${port}`]);
  const url = `http://127.0.0.1:${await portOf(server)}`;
  const ask = async (key: string) => (await fetch(`${url}/${key}`)).status;
  for (let count = 0; count < 5; count++) t.is(await ask(`missing-${count}`), 404);
  await until('the failure is reported', () => server.errors.length > 0);
  t.regex(server.errors[0] ?? '', /^hotblob: circuit breaker open: 5 consecutive failures, retry in 2 s: .*503/);
  answers.status = 404;
  await until('the return is reported', async () => {
    await ask(`missing-${Math.random()}`);
    return server.errors.length > 1;
  });
  t.is(server.errors[1], 'hotblob: circuit breaker closed: the remote store responds again');
});

test('an upload that fails is a line on stderr', async (t) => {
  const server = await serve(t, ['--store', 'directory']);
  await portOf(server);
  const uploads = join(server.dir, '.hotblob', 'uploads');
  await rm(uploads, { recursive: true, force: true });
  await writeFile(uploads, 'not a directory');
  await fetch(`http://127.0.0.1:${await portOf(server)}/key`, { method: 'PUT', body: 'x' });
  await until('the failed upload is reported', () => server.errors.length > 0);
  t.regex(server.errors[0] ?? '', /^hotblob: upload failed: key key, status 5\d\d: E\w+: /);
});

test('without prom-client, the page of the metrics says how to install it', async (t) => {
  const hook = join(await temporaryDirectory(t), 'no-prom-client.cjs');
  await writeFile(
    hook,
    `const Module = require('node:module');
const { _resolveFilename: resolve } = Module;
Module._resolveFilename = function (name, ...rest) {
  return resolve.call(this, name === 'prom-client' ? 'prom-client-that-is-absent' : name, ...rest);
};`,
  );
  const server = await serve(t, [], { env: { NODE_OPTIONS: `--require=${hook}` } });
  const response = await fetch(`http://127.0.0.1:${await portOf(server)}/_hotblob/metrics`);
  t.is(response.status, 501);
  t.regex(await response.text(), /npm install prom-client/);
});

interface Files {
  readonly cert: string;
  readonly key: string;
}

async function install({ cert, key }: Files, { cert: certText, key: keyText }: Certificate): Promise<void> {
  for (const [file, text] of [
    [cert, certText],
    [key, keyText],
  ] as const) {
    await writeFile(`${file}.new`, text);
    await rename(`${file}.new`, file);
  }
}

async function connection(port: number): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] });
  await once(socket, 'secureConnect');
  return socket;
}

/** Returns the serial number of the certificate that a new connection receives. */
async function serialOf(port: number): Promise<string> {
  const socket = await connection(port);
  const { serialNumber } = socket.getPeerCertificate();
  socket.destroy();
  return serialNumber;
}

async function serveTls(t: ExecutionContext) {
  const directory = await temporaryDirectory(t);
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
  await install(files, await generateCertificate());
  const server = await serve(t, ['--tls-cert', files.cert, '--tls-key', files.key]);
  const port = await portOf(server);
  return { server, files, port, serial: await serialOf(port) };
}

test('a renewed certificate is used after SIGHUP, and open connections stay open', async (t) => {
  const { server, files, port, serial } = await serveTls(t);
  const open = await connection(port);
  await install(files, await generateCertificate());
  server.child.kill('SIGHUP');
  await until('the renewal is reported', () => server.errors.some((line) => /certificate reloaded: valid/.test(line)));
  t.not(await serialOf(port), serial);
  open.write('GET /key HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  const [data] = await once(open, 'data');
  t.regex(String(data), /^HTTP\/1\.1 404 /);
});

test('a renewed certificate is used without a signal, too', async (t) => {
  const { server, files, port, serial } = await serveTls(t);
  await install(files, await generateCertificate());
  await until('the new certificate is used', async () => (await serialOf(port)) !== serial);
  t.regex(server.errors.join('\n'), /^hotblob: certificate reloaded: valid until \d{4}-\d\d-\d\d$/);
});

test('a broken certificate is reported once, and the previous one remains in use', async (t) => {
  const { server, files, port, serial } = await serveTls(t);
  await writeFile(files.cert, 'broken');
  server.child.kill('SIGHUP');
  await until('the problem is reported', () => server.errors.length > 0);
  server.child.kill('SIGHUP');
  t.is(await serialOf(port), serial);
  await install(files, await generateCertificate());
  server.child.kill('SIGHUP');
  await until('the renewal is reported', () => server.errors.length > 1);
  t.regex(
    server.errors[0] ?? '',
    /not reloaded, the previous one remains in use: --tls-cert: .*: expected a certificate/,
  );
  t.regex(server.errors[1] ?? '', /certificate reloaded/);
  t.not(await serialOf(port), serial);
});

test('a server that was started on a terminal stops when the terminal is closed, and reloads on SIGHUP before', async (t) => {
  const directory = await temporaryDirectory(t);
  const tokens = join(directory, 'tokens');
  await writeFile(tokens, 'write ci-0b6f2c9a41d84e57\n', { mode: 0o600 });
  const terminal = startOnTerminal(['serve', '--dir', join(directory, 'a'), '--port', '0', '--tokens', tokens]);
  t.teardown(() => terminal.kill('SIGKILL'));
  let output = '';
  terminal.stdout.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  await until('the server listens', () => output.includes('access: '));
  const url = `http://127.0.0.1:${/:(\d+) \(/.exec(output)?.[1]}/_hotblob/ready`;
  const pid = Number(await readFile(`/proc/${terminal.pid}/task/${terminal.pid}/children`, 'utf8'));
  t.teardown(() => {
    // The server outlives its terminal if the test fails.
    if (!t.passed) process.kill(pid, 'SIGKILL');
  });
  await writeFile(tokens, 'nonsense\n');
  process.kill(pid, 'SIGHUP');
  await until('the file is read again', () => output.includes('the last valid tokens are accepted'));
  t.is((await fetch(url)).status, 200);
  terminal.kill('SIGKILL');
  const isStopped = () =>
    fetch(url).then(
      () => false,
      () => true,
    );
  await until('the server has stopped', isStopped);
});

test('SIGHUP reads the token file again', async (t) => {
  const file = join(await temporaryDirectory(t), 'tokens');
  await writeFile(file, 'write ci-0b6f2c9a41d84e57\n', { mode: 0o600 });
  const server = await serve(t, ['--tokens', file]);
  await portOf(server);
  await writeFile(file, 'nonsense\n');
  server.child.kill('SIGHUP');
  await until('the problem is reported', () => server.errors.length > 0);
  t.regex(server.errors[0] ?? '', /tokens:1: .* the last valid tokens are accepted/);
});
