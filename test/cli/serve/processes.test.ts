import { once } from 'node:events';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import http from 'node:http';
import http2 from 'node:http2';
import { type AddressInfo, createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import type { HistoryWindow } from '../../../src/history/history.js';
import { generateCertificate } from '../../helpers/certificate.js';
import { runCommand } from '../../helpers/command-line.js';
import { temporaryDirectory } from '../../helpers/files.js';
import { until } from '../../helpers/poll.js';
import { parseMetrics } from '../../metrics/text.js';
import { get, isAlive, launch, type Processes, startLoad, startProcesses, startUploads } from './processes-fixture.js';

/** Sends requests over new connections until every process has sent a response. */
async function useAll(server: Processes, path = '/missing'): Promise<void> {
  await until('every process has responded', async () => {
    await Promise.all([0, 1, 2].map(() => get(server.url + path, { agent: false })));
    const { processes = [] } = await server.stats();
    return processes.length >= 2 && processes.every(({ responses }) => responses > 0);
  });
}

test('two processes serve HTTP/1.1 and HTTP/2 on one port, and say so once', async (t) => {
  const server = await startProcesses(t);
  await useAll(server);
  t.regex(server.lines[0] ?? '', /^hotblob listening on http:\/\/127\.0\.0\.1:\d+ \(.*; processes: 2\)$/);
  t.regex(server.lines[1] ?? '', /^access: /);
  t.is(server.lines.length, 2);
  const session = http2.connect(server.url);
  t.teardown(() => session.destroy());
  const stream = session.request({ ':path': '/missing' });
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
  t.is(Number(headers[':status']), 404);
  t.deepEqual(server.errors, []);
});

test('all processes together have the limits of one, and what one stores another one sends', async (t) => {
  const alone = await startProcesses(t, ['--processes', '2', '--max-connections', '11', '--max-size', '1GiB']);
  const { handler, server, processes = [] } = await alone.stats();
  t.is(processes.length, 2);
  t.is(server.maxConnections, 12); // 11 is not even, and the halves are rounded up
  t.is(handler.maxPooledBytes, 64 * 1024 * 1024);
  t.is(handler.maxMappedBytes, handler.memory.headroomBytes);
  await fetch(`${alone.url}/key`, { method: 'PUT', body: 'ten bytes.' });
  await useAll(alone, '/key');
  t.is((await alone.stats()).handler.misses, 0);
  await until('the artifact is counted once', async () => (await alone.stats()).store.artifacts === 1);
});

for (const store of ['directory', 'segments']) {
  test(`every process accepts uploads, also after the writer has been replaced: ${store}`, async (t) => {
    const server = await startProcesses(t, ['--store', store, '--max-size', '1MiB']);
    const upload = async (key: string): Promise<number> => {
      const request = http.request(`${server.url}/${key}`, { method: 'PUT', agent: false });
      request.end('x'.repeat(200_000));
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      response.resume();
      return response.statusCode ?? 0;
    };
    for (let round = 0; round < 3; round++) {
      for (let count = 0; count < 6; count++) {
        const key = `key-${round}-${count}`;
        t.true([200, 201].includes(await upload(key)), key);
        // The next connection leads to another process.
        for (let read = 0; read < 2; read++)
          t.is((await get(`${server.url}/${key}`, { agent: false })).status, 200, key);
      }
      if (round === 2) break;
      server.child.kill('SIGHUP');
      await until('the restart is reported', () => server.errors.length === round + 1);
    }
    await until('the evictions of all writers are counted once', async () => {
      const { evicted = 0, artifacts = 0 } = (await server.stats()).store;
      return evicted >= 18 - 5 && evicted <= 18 && artifacts <= 5;
    });
    t.deepEqual(
      server.errors.filter((line) => !line.includes('restarted')),
      [],
    );
  });
}

test('--upstream-mode write-back needs one process', async (t) => {
  const args = ['--upstream', 'http://127.0.0.1:1', '--upstream-mode', 'write-back', '--processes', '2'];
  const { code, stderr } = await runCommand(['serve', ...args]);
  t.is(code, 2);
  t.regex(stderr, /--upstream-mode: write-back needs one process, .*; use --upstream-mode write, or --processes 1/);
});

test('statistics, metrics and hotblob stats show the sums and each process', async (t) => {
  const server = await startProcesses(t);
  await useAll(server);
  const before = await server.stats();
  for (let count = 0; count < 10; count++) await get(`${server.url}/missing`, { agent: false });
  const { handler, processes = [], note, uptimeSeconds } = await server.stats();
  t.is(handler.misses, before.handler.misses + 10);
  t.is(handler.responses[404], handler.misses);
  t.is(note, undefined);
  t.true(uptimeSeconds >= Math.max(...processes.map((each) => each.uptimeSeconds)));
  t.is(
    processes.reduce((sum, { responses }) => sum + responses, 0),
    handler.misses,
  );
  for (const { residentBytes, cpuSeconds, eventLoopDelayMs } of processes) {
    t.true(residentBytes > 1_000_000 && cpuSeconds > 0 && eventLoopDelayMs >= 0);
  }
  const metrics = parseMetrics((await get(`${server.url}/_hotblob/metrics`)).body.toString());
  t.is(metrics.get('hotblob_lookups_total{handler="cache",result="miss"}'), handler.misses);
  for (const { pid, responses } of processes) {
    t.is(metrics.get(`hotblob_process_responses_total{pid="${pid}"}`), responses);
  }
  const { stdout } = await runCommand(['stats', server.url]);
  for (const { pid } of processes)
    t.regex(stdout, new RegExp(`^process ${pid} +up .*, event-loop delay .* resident$`, 'm'));
});

test('the live page shows the sums and each process', async (t) => {
  const server = await startProcesses(t);
  await useAll(server);
  const { handler } = await server.stats();
  const request = http.get(`${server.url}/_hotblob/events`, { agent: false });
  t.teardown(() => request.destroy());
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const [chunk] = (await once(response, 'data')) as [Buffer];
  const message = JSON.parse(chunk.toString().slice('data: '.length)) as Record<string, never>;
  t.like(message, { handler: { misses: handler.misses } });
  t.is((message['processes'] as unknown as unknown[]).length, 2);
});

async function failingArguments(t: ExecutionContext): Promise<Record<string, readonly string[]>> {
  const directory = await temporaryDirectory(t);
  const other = createServer();
  await once(other.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => other.close());
  const { port } = other.address() as AddressInfo; // an AddressInfo because the server listens on a port
  const file = join(directory, 'file');
  await writeFile(file, 'nonsense\n', { mode: 0o600 });
  const dir = ['--dir', join(directory, 'artifacts')];
  return {
    'a port in use': [...dir, '--port', String(port)],
    'an address of another machine': [...dir, '--host', '192.0.2.1'],
    'a directory that is a file': ['--dir', file, '--port', '0'],
    'an invalid token file': [...dir, '--port', '0', '--tokens', file],
    'a file that is no certificate': [...dir, '--port', '0', '--tls-cert', file, '--tls-key', file],
    'an option that is out of bounds': [...dir, '--port', '99999'],
    'an option that the store refuses': [...dir, '--port', '0', '--store', 'directory', '--verify-reads'],
  };
}

test('a server that cannot start prints the same single message as with one process', async (t) => {
  for (const [reason, args] of Object.entries(await failingArguments(t))) {
    const [one, two] = await Promise.all(
      ['1', '2'].map((processes) => runCommand(['serve', '--processes', processes, ...args])),
    );
    t.is(two?.stderr, one?.stderr, reason);
    t.is(two?.code, one?.code, reason);
    t.is(two?.stdout, '', reason);
    t.regex(one?.stderr ?? '', /^hotblob: .+\n(?:Run .*\n)?$/, reason);
  }
});

test('--processes takes a number or max', async (t) => {
  for (const value of ['0', '1.5', '-1', 'many', '100000']) {
    const { code, stderr } = await runCommand(['serve', `--processes=${value}`]);
    t.is(code, 2);
    t.regex(stderr, /^hotblob: serve: --processes: expected 'max' or an integer from 1 to 1024, received /);
  }
  if (availableParallelism() === 1) return;
  const server = await startProcesses(t, ['--processes', 'max']);
  t.regex(server.lines[0] ?? '', new RegExp(`; processes: ${availableParallelism()}\\)$`));
});

test('with one process, there is no other one', async (t) => {
  const { code, stderr, stdout } = await runCommand(
    ['serve', '--dir', join(await temporaryDirectory(t), 'artifacts'), '--port', '0', '--processes', '1'],
    { env: { NODE_OPTIONS: await stopping(t) } },
  );
  t.is(stderr, '');
  t.is(code, 0);
  t.notRegex(stdout, /processes:/);
});

/** Returns a value of NODE_OPTIONS with which the program ends if it starts another one, or when it listens. */
async function stopping(t: ExecutionContext): Promise<string> {
  const hook = join(await temporaryDirectory(t), 'stop.cjs');
  await writeFile(
    hook,
    `require('node:child_process').ChildProcess.prototype.spawn = () => process.exit(99);
const { Server } = require('node:net');
const { listen } = Server.prototype;
Server.prototype.listen = function (...args) {
  this.once('listening', () => {
    if (this.address().port !== undefined) setImmediate(() => process.kill(process.pid, 'SIGTERM'));
  });
  return listen.apply(this, args);
};`,
  );
  return `--require=${hook}`;
}

test('SIGHUP replaces all processes without a failed request', async (t) => {
  const server = await startProcesses(t);
  await fetch(`${server.url}/key`, { method: 'PUT', body: 'x'.repeat(100_000) });
  const load = startLoad(server.url, '/key');
  for (let round = 1; round <= 2; round++) {
    const before = await server.pids();
    server.child.kill('SIGHUP');
    await until('the restart is reported', () => server.errors.length === round);
    t.is(server.errors[round - 1], 'hotblob: restarted: 2 of 2 processes were replaced');
    const after = await server.pids();
    t.is(after.length, 2);
    t.deepEqual(
      after.filter((pid) => before.includes(pid)),
      [],
    );
    t.deepEqual(before.filter(isAlive), []);
  }
  const { responses } = load;
  await until('the new processes have responded', () => load.responses > responses + 10);
  t.deepEqual(await load.stop(), []);
  // No response was forgotten, although four processes have ended.
  t.true(((await server.stats()).handler.responses[200] ?? 0) > load.responses);
});

test('with --upstream, the number of evicted artifacts does not go backwards when SIGHUP replaces the processes', async (t) => {
  const upstream = http.createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(request.method === 'PUT' ? 201 : 404).end());
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  t.teardown(() => upstream.close());
  const { port } = upstream.address() as AddressInfo; // an AddressInfo because the server listens on a port
  const server = await startProcesses(t, ['--max-size', '2M', '--upstream', `http://127.0.0.1:${port}`]);
  for (let index = 0; index < 12; index++) {
    await fetch(`${server.url}/key-${index}`, { method: 'PUT', body: Buffer.alloc(500_000, index) });
  }
  const evicted = async () => (await server.stats()).store.evicted ?? 0;
  await until('artifacts are evicted', async () => (await evicted()) > 0);
  const before = await evicted();
  server.child.kill('SIGHUP');
  await until('the restart is reported', () => server.errors.some((line) => /restarted: 2 of 2/.test(line)));
  t.true((await evicted()) >= before);
});

async function serialOf(port: number): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { serialNumber } = socket.getPeerCertificate();
  socket.destroy();
  return serialNumber;
}

test('after SIGHUP, all processes use the new certificate and the new tokens', async (t) => {
  const directory = await temporaryDirectory(t);
  const [cert, key, tokens] = ['cert.pem', 'key.pem', 'tokens'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  const install = async (token: string): Promise<void> => {
    const certificate = await generateCertificate();
    for (const [file, text] of [
      [cert, certificate.cert],
      [key, certificate.key],
      [tokens, `write ${token}\n`],
    ] as const) {
      await writeFile(`${file}.new`, text, { mode: 0o600 });
      await rename(`${file}.new`, file);
    }
  };
  await install('first-0b6f2c9a41d84e57');
  const args = ['--tls-cert', cert, '--tls-key', key, '--tokens', tokens];
  const { port, errors, child } = await launch(t, args);
  const before = await serialOf(port);
  await install('second-4e57b6f2c9a41d84');
  child.kill('SIGHUP');
  await until('the restart is reported', () => errors.some((line) => line.includes('restarted: 2 of 2')));
  const serials = new Set<string>();
  for (let count = 0; count < 12; count++) serials.add(await serialOf(port));
  t.is(serials.size, 1);
  t.false(serials.has(before));
  const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  t.teardown(() => session.destroy());
  for (const [token, status] of [
    ['first-0b6f2c9a41d84e57', 401],
    ['second-4e57b6f2c9a41d84', 404],
  ] as const) {
    const stream = session.request({ ':path': '/missing', authorization: `Bearer ${token}` });
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    t.is(Number(headers[':status']), status);
  }
});

test('if the files have become invalid, SIGHUP keeps the processes and says why', async (t) => {
  const tokens = join(await temporaryDirectory(t), 'tokens');
  await writeFile(tokens, 'read first-0b6f2c9a41d84e57\n', { mode: 0o600 });
  const server = await startProcesses(t, ['--tokens', tokens, '--anonymous', 'read']);
  const before = await server.pids();
  await writeFile(tokens, 'nonsense\n');
  server.child.kill('SIGHUP');
  await until('the problem is reported', () => server.errors.some((line) => line.includes('could not start')));
  const problem = server.errors.find((line) => line.includes('could not start')) ?? '';
  t.regex(problem, /^hotblob: process \d+ could not start: --tokens: .*; process \d+ continues$/);
  t.deepEqual(await server.pids(), before);
  t.is((await get(`${server.url}/missing`)).status, 404);
});

test('SIGTERM lets the requests of all processes complete', async (t) => {
  const server = await startProcesses(t);
  const pids = await server.pids();
  const uploads = await startUploads(server);
  server.child.kill('SIGTERM');
  await until(
    'the server drains',
    async () => (await get(`${server.url}/_hotblob/ready`, { agent: false })).status === 503,
  );
  for (const { upload } of uploads) upload.end('y');
  for (const { ended } of uploads) t.true([200, 201].includes(Number(await ended)));
  t.is((await server.ended).code, 0);
  t.deepEqual(pids.filter(isAlive), []);
  t.deepEqual(server.errors, []);
});

test('with --shutdown-timeout 0, SIGTERM ends the requests of all processes at once', async (t) => {
  const server = await startProcesses(t, ['--shutdown-timeout', '0']);
  const upload = http.request(`${server.url}/key`, { method: 'PUT' });
  const failed = once(upload, 'error');
  upload.write('x');
  await until('the upload has begun', async () => (await server.stats()).handler.active === 1);
  server.child.kill('SIGTERM');
  t.is((await server.ended).code, 0);
  await failed;
});

test('the lines of the processes reach stderr whole', async (t) => {
  const server = await startProcesses(t, [], { env: { DEBUG: 'hotblob:response', DEBUG_COLORS: 'no' } });
  const load = startLoad(server.url, '/_hotblob/ready');
  await Promise.all(Array.from({ length: 200 }, (_, index) => get(`${server.url}/missing-${index}`, { agent: false })));
  t.deepEqual(await load.stop(), []);
  await until('all lines have arrived', () => server.errors.filter((line) => /missing-\d+/.test(line)).length >= 200);
  const lines = server.errors.filter((line) => /missing/.test(line));
  t.is(lines.length, 200);
  for (const line of lines) t.regex(line, /^\S.* hotblob:response [^\n]*missing-\d+[^\n]*$/);
});

test('an event of every process is one line', async (t) => {
  const server = await startProcesses(t);
  const uploads = join(server.dir, '.hotblob', 'uploads');
  await mkdir(join(server.dir, '.hotblob'), { recursive: true });
  await writeFile(uploads, 'not a directory');
  const upload = async () => {
    const request = http.request(`${server.url}/key`, { method: 'PUT', agent: false });
    request.end('x');
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    response.resume();
  };
  await until('uploads to every process have failed', async () => {
    await Promise.all([0, 1, 2].map(upload));
    const { processes = [] } = await server.stats();
    return processes.every(({ responses }) => responses > 1);
  });
  server.child.kill('SIGTERM');
  t.is((await server.ended).code, 0); // no further line follows
  t.is(server.errors.filter((line) => line.includes('upload failed')).length, 1);
  t.regex(server.errors[0] ?? '', /^hotblob: upload failed: key key, status 5\d\d: E\w+: /);
});

test('the history of the live page is the sum, and outlives the processes', async (t) => {
  const server = await startProcesses(t);
  await useAll(server);
  /** Returns the last value of a column, and the time of the first sample. */
  const read = async (name: string) => {
    const { body } = await get(`${server.url}/_hotblob/history.json?seconds=600`);
    const { times, columns } = JSON.parse(body.toString()) as HistoryWindow;
    return { start: times[0], last: (columns[name] ?? []).reduce((sum: number, each) => sum + (each ?? 0), 0) };
  };
  await until('the history has the lookups of both processes', async () => {
    const { last } = await read('misses');
    return last > 0 && last === (await server.stats()).handler.misses;
  });
  t.is((await read('now/processes')).last, 2);
  const { start } = await read('misses');
  t.true(Number(start) > 1.7e12);
  server.child.kill('SIGHUP');
  await until('the restart is reported', () => server.errors.length === 1);
  const { misses } = (await server.stats()).handler;
  await get(`${server.url}/missing`, { agent: false });
  await until('the history goes on', async () => (await read('misses')).last > misses);
  t.is((await read('misses')).start, start);
});
