import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { clusterStats, runProcesses } from '../../src/cluster/index.js';
import type { ClusterTotals } from '../../src/cluster/sum-stats.js';
import { createHandler } from '../../src/handler/handler.js';
import { memoryStore } from '../../src/stores/memory.js';
import { temporaryDirectory } from '../helpers/files.js';
import { until } from '../helpers/poll.js';
import type { ProgramOptions } from './program.js';

type Line = Readonly<Record<string, unknown>>;

function startProgram(t: ExecutionContext, options: ProgramOptions) {
  // exec(1) keeps the process id, so that signals reach the program.
  const command = `ulimit -n 256; exec '${process.execPath}' --import=tsx test/cluster/program.ts "$1"`;
  const child = spawn('sh', ['-c', command, 'sh', JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const lines: Line[] = [];
  createInterface(child.stdout).on('line', (line) => lines.push(JSON.parse(line) as Line));
  const ended = once(child, 'close').then(([code]) => code as number | null);
  const line = async (name: string): Promise<Line> => {
    await until(`the program prints ${name}`, () => lines.some((each) => name in each));
    return lines.find((each) => name in each) ?? {};
  };
  return { child, lines, ended, line };
}

const request = async (url: string) => fetch(url, { headers: { connection: 'close' } });

test('a server of node:http runs in two processes, whose statistics add up', async (t) => {
  const program = startProgram(t, { processes: 2 });
  const { port, pids, sharing } = await program.line('port');
  t.is((pids as number[]).length, 2);
  t.true(sharing === 'reusePort' || sharing === 'node:cluster');
  const notices = program.lines.filter((line) => 'notice' in line);
  t.deepEqual(new Set(notices.map(({ pid }) => pid)), new Set(pids as number[]));
  t.deepEqual(
    notices.map(({ notice }) => notice),
    [
      { isFirst: true, isAlone: false },
      { isFirst: false, isAlone: false },
    ],
  );
  const url = `http://127.0.0.1:${port}`;
  for (let count = 0; count < 7; count++) t.is((await request(`${url}/cache/missing`)).status, 404);
  const totals = (await (await request(`${url}/totals`)).json()) as ClusterTotals; // the body is JSON of this type
  t.is(totals.handlers['cache']?.misses, 7);
  t.deepEqual(totals.processes.map(({ pid }) => pid).sort(), [...(pids as number[])].sort());
  program.child.kill('SIGTERM');
  t.is(await program.ended, 0);
});

test('listenOptions() keeps the path of a socket, and all processes listen on it', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'hotblob-cluster-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, 'socket');
  const program = startProgram(t, { processes: 2, others: [{ path }] });
  await program.line('port');
  const notices = program.lines.flatMap(({ notice }) => notice ?? []);
  t.deepEqual(notices, [{ addresses: [path] }, { addresses: [path] }]);
  const [response] = (await once(http.get({ socketPath: path, agent: false }), 'response')) as [http.IncomingMessage];
  t.is(await text(response), '0');
  program.child.kill('SIGTERM');
  t.is(await program.ended, 0);
});

test('two calls of listenOptions() for port 0 get two ports, which are the same in all processes', async (t) => {
  const free = { port: 0, host: '127.0.0.1' };
  const program = startProgram(t, { processes: 2, others: [free, free] });
  const { port } = await program.line('port');
  type Notice = { readonly addresses: readonly AddressInfo[] };
  const notices = program.lines.flatMap(({ notice }) => (notice === undefined ? [] : [notice as Notice]));
  const [first = [], second] = notices.map(({ addresses }) => addresses.map((address) => address.port));
  t.is(new Set([port, ...first]).size, 3);
  t.deepEqual(second, first);
  for (const [index, each] of first.entries()) {
    for (let count = 0; count < 4; count++) {
      t.is(await (await request(`http://127.0.0.1:${each}`)).text(), String(index));
    }
  }
  program.child.kill('SIGTERM');
  t.is(await program.ended, 0);
});

test('while the parent is stopped, sources of metrics fail, and totals() says that its values are old', async (t) => {
  const program = startProgram(t, { processes: 2 });
  const { port } = await program.line('port');
  // The parent may be the one that accepts connections, so this one is opened before.
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const ask = async (path: string) => {
    const sent = http.get(`http://127.0.0.1:${port}${path}`, { agent });
    const [response] = (await once(sent, 'response')) as [http.IncomingMessage];
    return { status: response.statusCode, body: await text(response) };
  };
  t.is((await ask('/sums')).status, 200);
  program.child.kill('SIGSTOP');
  t.deepEqual(await ask('/sums'), { status: 503, body: 'the parent did not answer' });
  t.like(JSON.parse((await ask('/totals')).body), { note: 'the parent did not answer: the values are old' });
  program.child.kill('SIGCONT');
  await until('the parent answers again', async () => (await ask('/sums')).status === 200);
});

test('a shutdown ends a process that has not called runProcesses yet', async (t) => {
  const hold = join(await temporaryDirectory(t), 'hold');
  const program = startProgram(t, { processes: 2, hold });
  await program.line('port');
  await writeFile(hold, '');
  program.child.kill('SIGHUP');
  await program.line('held');
  program.child.kill('SIGTERM');
  t.is(await program.ended, 0);
});

test('if the system cannot create a process, the others serve, and the parent tries again', async (t) => {
  const program = startProgram(t, { processes: 2 });
  const { port, pids } = await program.line('port');
  program.child.kill('SIGUSR2');
  t.like(await program.line('exhausted'), { exhausted: 'EMFILE' });
  const problems = (): unknown[] => program.lines.flatMap((line) => line['problem'] ?? []);
  process.kill((pids as number[])[1] ?? 0, 'SIGKILL');
  await until('the second attempt has failed', () => problems().length > 2);
  t.regex(String(problems()[1]), /^a process could not start: spawn .* EMFILE; starting another in 1 s$/);
  t.is((await request(`http://127.0.0.1:${port}/cache/missing`)).status, 404);
  const notices = (): number => program.lines.filter((line) => 'notice' in line).length;
  const before = notices();
  program.child.kill('SIGUSR2');
  await until('a process has started', () => notices() > before);
  program.child.kill('SIGTERM');
  t.is(await program.ended, 0);
});

test('with one process, the server runs in the program itself', async (t) => {
  const program = startProgram(t, { processes: 1 });
  t.like(await program.line('port'), { pids: [program.child.pid], sharing: 'alone' });
  t.deepEqual((await program.line('notice'))['notice'], { isFirst: true, isAlone: true });
  program.child.kill('SIGTERM');
  t.is(await program.ended, 0);
});

test('the error of a process that cannot start reaches the parent, with its code', async (t) => {
  const program = startProgram(t, { processes: 3, fail: 'start' });
  t.is(await program.ended, 3);
  t.deepEqual(program.lines, [{ error: 'no such disk', name: 'RangeError', code: 'ENODISK' }]);
});

test('a value that cannot be sent to the parent is the error of the process', async (t) => {
  const program = startProgram(t, { processes: 2, fail: 'info' });
  t.is(await program.ended, 3);
  t.regex(String((await program.line('error'))['error']), /could not be cloned/);
});

test('a store whose stats() throws does not end its process', async (t) => {
  const program = startProgram(t, { processes: 2 });
  const { port, pids } = await program.line('port');
  const url = `http://127.0.0.1:${port}`;
  t.is((await request(`${url}/break`)).status, 200);
  const isReported = ({ notice }: Line): boolean => Object(notice).event === 'statistics failed';
  await until('the error is reported', () => program.lines.some(isReported));
  for (let count = 0; count < 4; count++) t.is((await request(`${url}/cache/missing`)).status, 404);
  program.child.kill('SIGWINCH');
  t.is((await program.line('restarted'))['restarted'], 2);
  t.deepEqual(
    program.lines.filter((line) => 'problem' in line),
    [],
  );
  t.is((pids as number[]).length, 2);
  program.child.kill('SIGTERM');
  t.is(await program.ended, 0);
});

test('a restart counts the processes that it replaces, and starts those at once that wait for another attempt', async (t) => {
  const program = startProgram(t, { processes: 2 });
  const { pids } = await program.line('port');
  const pidsOfNotices = (): number[] =>
    program.lines.flatMap((line) => ('notice' in line ? [Number(line['pid'])] : []));
  const problems = (): string[] =>
    program.lines.flatMap((line) => ('problem' in line ? [String(line['problem'])] : []));
  process.kill((pids as number[])[1] ?? 0, 'SIGKILL');
  await until('the process is replaced', () => pidsOfNotices().length === 3);
  process.kill(pidsOfNotices()[2] ?? 0, 'SIGKILL');
  await until('another attempt waits', () => problems().some((line) => line.endsWith('starting another in 1 s')));
  program.child.kill('SIGWINCH');
  t.is((await program.line('restarted'))['restarted'], 1);
  await until('both processes are new', () => pidsOfNotices().length === 5);
  program.child.kill('SIGTERM');
  t.is(await program.ended, 0);
});

test('invalid options are refused', async (t) => {
  const start = async () => ({ close: async () => {} });
  for (const [options, message] of [
    [{ processes: 0 }, /^processes: expected a whole number, 1 or more, or 'max', received 0$/],
    [{ shutdownTimeoutMs: -1 }, /^shutdownTimeoutMs: /],
    [{ signals: 'SIGTERM' }, /^signals: expected true or false/],
    [{ workers: 2 }, /^unknown option 'workers'/],
  ] as const) {
    await t.throwsAsync(runProcesses(options as never, start), { code: 'ERR_HOTBLOB_INVALID_OPTION', message });
  }
  t.throws(() => clusterStats({ handler: {} } as never), { message: /^unknown option 'handler'/ });
});

test('in a program that runProcesses has not started, the statistics are those of this process', async (t) => {
  const handler = createHandler({ store: memoryStore() });
  const stats = clusterStats({ handlers: { cache: handler } });
  const { memory: _, ...sum } = await stats.handlers.cache.stats(); // the memory in use changes all the time
  t.like(handler.stats(), sum);
  const totals = await stats.processes.totals();
  t.is(totals.note, undefined);
  t.deepEqual(
    totals.processes.map(({ pid }) => pid),
    [process.pid],
  );
  await until('the delay of the event loop is measured', async () => {
    const end = performance.now() + 60;
    while (performance.now() < end); // blocks the event loop
    const [own] = (await stats.processes.totals()).processes;
    return (own?.eventLoopDelayMs ?? 0) > 30;
  });
});
