import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { until } from '../../helpers/poll.js';
import { temporaryDirectory } from '../fixture.js';
import { serveMap, startTiers } from './fixture.js';

const PROGRAM = fileURLToPath(new URL('./write-back-process.ts', import.meta.url));
const ROUNDS = 8;
/** Minimum number of uploads that a process acknowledges before it is killed, at an arbitrary moment. */
const MIN_ACKNOWLEDGED = 20;

test('the remote store gets every acknowledged upload, whenever the process is killed', async (t) => {
  const directory = await temporaryDirectory(t);
  const artifacts = new Map<string, Buffer>();
  const serve = serveMap(artifacts);
  let requests = 0;
  const local = await directoryStore(`${directory}/local`);
  const isFailing = () => requests++ % 3 !== 0;
  let isUp = false;
  const { store, peer } = await startTiers(t, (request, response) => {
    if (!isUp && isFailing()) request.resume().on('end', () => response.writeHead(503).end());
    else serve(request, response);
  });
  await store.close();

  const acknowledged: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const child = fork(PROGRAM, [directory, peer.url, `round-${round}`], { execArgv: ['--import=tsx'] });
    t.teardown(() => child.kill('SIGKILL'));
    const exit = once(child, 'exit');
    let count = 0;
    child.on('message', (key) => {
      acknowledged.push(String(key));
      count++;
    });
    await until('uploads have been acknowledged', () => count >= MIN_ACKNOWLEDGED + round || child.exitCode !== null);
    child.kill('SIGKILL');
    t.deepEqual(await exit, [null, 'SIGKILL']);
  }

  isUp = true;
  const queueDir = `${directory}/queue`;
  const remaining = (await readdir(queueDir)).length;
  t.true(remaining > 0, 'the queue is not empty');
  const restarted = await startTiers(t, serve, { local, writes: 'writeBack', queueDir });
  await until('the queue is empty', () => restarted.store.stats().queued === 0);
  const missing = acknowledged.filter((key) => !artifacts.get(`/${key}`)?.equals(Buffer.from(key.repeat(100))));
  t.deepEqual(missing, []);
  t.log(`${acknowledged.length} uploads acknowledged by ${ROUNDS} killed processes, ${remaining} in the queue`);
});
