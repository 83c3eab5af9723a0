import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { request } from '../helpers/client.js';
import { assertEndures } from '../helpers/hostile-requests.js';
import { KINDS, type RunningServer } from '../helpers/servers.js';
import { content, temporaryDirectory } from '../stores/fixture.js';

const NODES = 3;
const CLIENTS = 8;
const REQUESTS = 600;
/** Number of requests before one node is killed. */
const BEFORE = 150;

interface Member {
  readonly name: string;
  readonly pid: number;
  readonly server: RunningServer;
  readonly base: string;
}

test('if one of three nodes is killed, only requests in flight on it fail, and retries on other nodes succeed', async (t) => {
  const { process: mesh, members } = await startMesh(t);
  t.deepEqual(
    members.map(({ name }) => name),
    ['upstream', 'node-1', 'node-2', 'node-3'],
  );
  const nodes = members.slice(1);
  for (const { server } of members) await assertEndures(t, server, 20);

  // Each artifact is uploaded to one node. The other nodes download it from the upstream on a miss.
  const artifacts = Array.from({ length: 24 }, (_, index) =>
    content(index % 6 === 0 ? 2_000_000 : 20_000 + index, index),
  );
  for (const [index, body] of artifacts.entries()) {
    const { server, base } = at(nodes, index);
    t.is((await request(server, { method: 'PUT', path: `${base}/artifact-${index}`, body })).status, 200);
  }

  const victim = at(nodes, 1);
  const failures: Member[] = [];
  let killedAt: number | undefined;
  let sent = 0;
  let inFlightOnVictim = 0;
  let lostAtMost = 0;
  const client = async (): Promise<void> => {
    while (sent < REQUESTS) {
      const number = sent++;
      if (number === BEFORE) {
        lostAtMost = inFlightOnVictim;
        killedAt = number;
        process.kill(victim.pid, 'SIGKILL');
      }
      const index = (number * 7) % artifacts.length;
      let isServed = false;
      for (let attempt = 0; attempt < NODES && !isServed; attempt++) {
        const node = at(nodes, number + attempt);
        if (node === victim) inFlightOnVictim++;
        try {
          const { status, body } = await request(node.server, { path: `${node.base}/artifact-${index}` });
          isServed = status === 200 && at(artifacts, index).equals(body);
          if (!isServed) t.fail(`${node.name} answered ${status} with ${body.byteLength} bytes`);
        } catch {
          failures.push(node);
        } finally {
          if (node === victim) inFlightOnVictim--;
        }
      }
      t.true(isServed, `request ${number} is answered by some node`);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));

  t.is(killedAt, BEFORE);
  t.true(failures.length >= lostAtMost, 'requests in flight on the killed node have failed');
  t.deepEqual([...new Set(failures.map(({ name }) => name))], [victim.name]);

  mesh.kill('SIGTERM');
  t.deepEqual(await once(mesh, 'close'), [0, null]);
});

test('SIGINT stops all processes of the mesh', async (t) => {
  const { process: mesh } = await startMesh(t);
  mesh.kill('SIGINT');
  t.deepEqual(await once(mesh, 'close'), [0, null]);
});

async function startMesh(t: ExecutionContext): Promise<{ process: ChildProcess; members: Member[] }> {
  const directory = await temporaryDirectory(t);
  const mesh = spawn(process.execPath, ['--import=tsx', 'examples/mesh.ts'], {
    env: { ...process.env, DIR: directory },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const members: Member[] = [];
  t.teardown(() => {
    mesh.kill('SIGKILL');
    for (const { pid } of members) killQuietly(pid);
  });
  const lines = createInterface(mesh.stdout);
  for await (const line of lines) {
    const [, name = '', port = '', pid = ''] =
      /^(\S+) listening on http:\/\/127\.0\.0\.1:(\d+)\/cache \(process (\d+)\)$/.exec(line) ?? [];
    const server: RunningServer = { ...KINDS.h2c, kind: 'h2c', port: Number(port), certificate: undefined };
    members.push({ name, pid: Number(pid), server, base: '/cache' });
    if (members.length === NODES + 1) break;
  }
  // Discards the remaining output, so that a full pipe does not block the mesh.
  mesh.stdout.resume();
  return { process: mesh, members };
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // The process has already exited.
  }
}

function at<T>(values: readonly T[], index: number): T {
  const value = values[index % values.length];
  if (value === undefined) throw new Error('the array is empty');
  return value;
}
