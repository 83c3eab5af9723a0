import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import http from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import { temporaryDirectory } from '../../helpers/files.js';
import { until } from '../../helpers/poll.js';
import { writerOf } from '../../helpers/store-writer.js';
import {
  get,
  isAlive,
  type Processes,
  startLoad,
  startProcesses,
  startUpload,
  startUploads,
} from './processes-fixture.js';

/** Waits until two processes serve, none of which is among `before`. */
async function untilReplaced(server: Processes, killed: readonly number[]): Promise<void> {
  await until('other processes serve', async () => {
    const pids = await server.pids().catch((): number[] => []);
    return pids.length === 2 && pids.every((pid) => !killed.includes(pid));
  });
}

/** Resolves to the status of the readiness check; to 0 if the process ends at this moment. */
async function readyStatus({ url }: Processes): Promise<number> {
  const response = await get(`${url}/_hotblob/ready`, { agent: false }).catch(() => undefined);
  return response?.status ?? 0;
}

test('a process that is killed costs only its own connections, and is replaced', async (t) => {
  const server = await startProcesses(t);
  const uploads = await startUploads(server);
  const before = await server.stats();
  const active = (before.processes ?? []).map((each) => each.active);
  const [victim = 0] = await server.pids();
  process.kill(victim, 'SIGKILL');
  await untilReplaced(server, [victim]);
  for (const { upload } of uploads) upload.end('y');
  const results = await Promise.all(uploads.map(({ ended }) => ended));
  const failed = results.filter((result) => typeof result === 'string');
  t.is(failed.length, active[0] ?? 0);
  t.true(
    failed.every((code) => code === 'ECONNRESET' || code === 'EPIPE'),
    failed.join(', '),
  );
  // If the process that writes to the store was killed, uploads that another one was sending to it are answered with 503.
  t.true(
    results.every((result) => typeof result === 'string' || [200, 201, 503].includes(result)),
    results.join(', '),
  );
  await until('the end is reported', () => server.errors.length > 0);
  t.deepEqual(
    server.errors.filter((line) => !line.includes('upload failed')),
    [`hotblob: process ${victim} ended (SIGKILL); starting another`],
  );
  const { handler, server: connections, uptimeSeconds } = await server.stats();
  t.true(connections.accepted.http1 >= before.server.accepted.http1);
  t.true(handler.sent.copied.bytes >= before.handler.sent.copied.bytes);
  t.true(uptimeSeconds >= before.uptimeSeconds);
});

test('while a process is gone, the others have its share, and no counter becomes smaller', async (t) => {
  // The successor cannot start: its token file is invalid.
  const tokens = join(await temporaryDirectory(t), 'tokens');
  await writeFile(tokens, 'read first-0b6f2c9a41d84e57\n', { mode: 0o600 });
  const server = await startProcesses(t, ['--tokens', tokens, '--anonymous', 'read', '--max-connections', '10']);
  for (let count = 0; count < 20; count++) await get(`${server.url}/missing`, { agent: false });
  const before = await server.stats();
  t.is(before.handler.misses, 20);
  t.is(before.server.maxConnections, 10);
  const [victim = 0] = await server.pids();
  await writeFile(tokens, 'nonsense\n');
  process.kill(victim, 'SIGKILL');
  await until(
    'the successor has failed twice',
    () => server.errors.filter((line) => /could not start/.test(line)).length > 1,
  );
  await until('one process is left', async () => (await server.pids()).length === 1);
  await until('it has the share of the other one', async () => {
    const { server: connections, handler } = await server.stats();
    return connections.maxConnections === 10 && handler.maxPooledBytes === before.handler.maxPooledBytes;
  });
  const during = await server.stats();
  t.is(during.handler.misses, 20);
  t.true(during.server.accepted.http1 > before.server.accepted.http1);
  const lines = server.errors.filter((line) => line.includes('process '));
  t.is(lines[0], `hotblob: process ${victim} ended (SIGKILL); starting another`);
  t.regex(lines[1] ?? '', /^hotblob: process \d+ could not start: --tokens: .*; starting another in 1 s$/);
  t.regex(lines[2] ?? '', /^hotblob: process \d+ could not start: --tokens: .*; starting another in 2 s$/);
  t.is((await get(`${server.url}/missing`, { agent: false })).status, 404);
  await writeFile(tokens, 'read first-0b6f2c9a41d84e57\n', { mode: 0o600 });
  await untilReplaced(server, [victim]);
  t.is((await server.stats()).handler.misses, 21);
  t.is((await server.stats()).server.maxConnections, 10);
});

test('two processes that are killed at once are both replaced', async (t) => {
  const server = await startProcesses(t);
  await fetch(`${server.url}/key`, { method: 'PUT', body: 'ten bytes.' });
  const { uptimeSeconds } = await server.stats();
  const victims = await server.pids();
  for (const pid of victims) process.kill(pid, 'SIGKILL');
  await untilReplaced(server, victims);
  t.is(String((await get(`${server.url}/key`)).body), 'ten bytes.');
  await until('both ends are reported', () => server.errors.length === 2);
  t.deepEqual(
    [...server.errors].sort(),
    victims.map((pid) => `hotblob: process ${pid} ended (SIGKILL); starting another`).sort(),
  );
  const stats = await server.stats();
  t.true(stats.uptimeSeconds >= uptimeSeconds);
  t.true((stats.handler.responses[200] ?? 0) + (stats.handler.responses[201] ?? 0) >= 2);
});

test('if the parent is killed, the processes end and release the port', async (t) => {
  const server = await startProcesses(t);
  const pids = await server.pids();
  // A request in flight does not delay the end.
  const { ended } = await startUpload(server, 'key');
  server.child.kill('SIGKILL');
  await until('the processes have ended', () => !pids.some(isAlive), 2000);
  t.is(await ended, 'ECONNRESET');
  // The kernel closes the sockets of a process a moment later.
  await until('the port is free', async () => {
    const socket = connect(server.port, '127.0.0.1');
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    return error.code === 'ECONNREFUSED';
  });
});

test('a process that gets SIGTERM is replaced without a failed request', async (t) => {
  const server = await startProcesses(t);
  await fetch(`${server.url}/key`, { method: 'PUT', body: 'x'.repeat(10_000) });
  const load = startLoad(server.url, '/key');
  const [victim = 0] = await server.pids();
  process.kill(victim, 'SIGTERM');
  await untilReplaced(server, [victim]);
  const { responses } = load;
  await until('the new process has responded', () => load.responses > responses + 10);
  t.deepEqual(await load.stop(), []);
  t.deepEqual(server.errors, []);
});

test('SIGTERM during a restart lets the requests of the process that is being replaced complete', async (t) => {
  const server = await startProcesses(t);
  const size = 64 * 1024 * 1024; // more than the buffers of a connection
  t.is((await fetch(`${server.url}/key`, { method: 'PUT', body: Buffer.alloc(size, 'x') })).status, 200);
  const responses: http.IncomingMessage[] = [];
  await until('both processes send', async () => {
    const request = http.get(`${server.url}/key`, { agent: false });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]; // the declared event
    responses.push(response.pause());
    // One more connection now and then, because node:cluster gives connections to the processes in turn.
    if (responses.length % 2 === 0) await server.stats();
    return ((await server.stats()).processes ?? []).every(({ active }) => active > 0);
  });
  const before = await server.pids();
  let successor = 0;
  server.child.kill('SIGHUP');
  await until('a successor serves', async () => {
    successor = (await server.pids()).find((pid) => !before.includes(pid)) ?? 0;
    return successor !== 0;
  });
  server.child.kill('SIGTERM');
  await until('the successor, which has no requests, has ended', () => !isAlive(successor));
  const sizes = responses.map(async (response) => {
    let bytes = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) bytes += chunk.length;
    return bytes;
  });
  t.deepEqual(new Set(await Promise.all(sizes)), new Set([size]));
  t.is((await server.ended).code, 0);
  t.deepEqual(server.errors, ['hotblob: restarted: 1 of 2 processes were replaced']);
});

test('a second SIGHUP during a restart restarts again, and the result is one line', async (t) => {
  const server = await startProcesses(t);
  const before = await server.pids();
  server.child.kill('SIGHUP');
  await until('a successor serves', async () => (await server.pids()).some((pid) => !before.includes(pid)));
  server.child.kill('SIGHUP');
  await until('the restart is reported', () => server.errors.length > 0);
  server.child.kill('SIGTERM');
  t.is((await server.ended).code, 0);
  t.deepEqual(server.errors, ['hotblob: restarted: 2 of 2 processes were replaced']);
});

test('SIGINT of a terminal, which all processes get, drains them', async (t) => {
  const server = await startProcesses(t);
  const pids = await server.pids();
  const { upload, ended } = await startUpload(server, 'key');
  for (const pid of [...pids, server.child.pid ?? 0]) process.kill(pid, 'SIGINT');
  await until('the server drains', async () => (await readyStatus(server)) === 503);
  upload.end('y');
  t.true([200, 201].includes(Number(await ended)));
  t.is((await server.ended).code, 0);
  t.deepEqual(pids.filter(isAlive), []);
});

test('a second SIGTERM ends all processes at once', async (t) => {
  const server = await startProcesses(t);
  const pids = await server.pids();
  const { ended } = await startUpload(server, 'key');
  server.child.kill('SIGTERM');
  await until('the server drains', async () => (await readyStatus(server)) === 503);
  for (const pid of pids) if (isAlive(pid)) process.kill(pid, 'SIGSTOP'); // a stopped process handles no event
  t.teardown(() => {
    for (const pid of pids) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  });
  server.child.kill('SIGTERM');
  t.is((await server.ended).code, 1);
  t.true(['ECONNRESET', 503].includes(await ended));
  await until('the processes have ended', () => !pids.some(isAlive), 5000);
});

for (const store of ['directory', 'segments']) {
  test(`SIGHUP kills and replaces a writer that is stopped: ${store}`, async (t) => {
    const server = await startProcesses(t, ['--store', store, '--shutdown-timeout', '0']);
    const before = await server.pids();
    const writer = writerOf(server.dir, before) ?? 0;
    t.true(before.includes(writer));
    process.kill(writer, 'SIGSTOP');
    server.child.kill('SIGHUP');
    await until('the restart is reported', () => server.errors.length === 2);
    t.deepEqual(server.errors, [
      `hotblob: process ${writer} did not respond within 10 s and was killed; starting another`,
      'hotblob: restarted: 2 of 2 processes were replaced',
    ]);
    t.deepEqual(before.filter(isAlive), []);
    t.is((await fetch(`${server.url}/key`, { method: 'PUT', body: 'ten bytes.' })).status, 200);
    t.is((await server.pids()).length, 2);
  });
}
