import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { until } from '../../helpers/poll.js';
import { temporaryDirectory } from '../fixture.js';
import { cacheOf, startTiers } from './fixture.js';

const PROGRAM = fileURLToPath(new URL('./write-back-process.ts', import.meta.url));
const ROUNDS = 8;
/** So many uploads each process acknowledges before it is killed, at some moment between two of them. */
const ACKNOWLEDGED = 20;

test('whenever the process is killed, the remote store gets every upload that was acknowledged', async (t) => {
  const directory = await temporaryDirectory(t);
  const artifacts = new Map<string, Buffer>();
  const cache = cacheOf(artifacts);
  let requests = 0;
  const local = await directoryStore(`${directory}/local`);
  const isDown = () => requests++ % 3 !== 0;
  let isRepaired = false;
  const { store, peer } = await startTiers(t, (request, response) => {
    if (!isRepaired && isDown()) request.resume().on('end', () => response.writeHead(503).end());
    else cache(request, response);
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
    await until('it has acknowledged some', () => count >= ACKNOWLEDGED + round || child.exitCode !== null);
    child.kill('SIGKILL');
    t.deepEqual(await exit, [null, 'SIGKILL']);
  }

  isRepaired = true;
  const queueDir = `${directory}/queue`;
  const left = (await readdir(queueDir)).length;
  t.true(left > 0, 'something was left to do');
  const again = await startTiers(t, cache, { local, writes: 'writeBack', queueDir });
  await until('it is done', () => again.store.stats().queued === 0);
  const missing = acknowledged.filter((key) => !artifacts.get(`/${key}`)?.equals(Buffer.from(key.repeat(100))));
  t.deepEqual(missing, []);
  t.log(`${acknowledged.length} uploads acknowledged by ${ROUNDS} processes that were killed, ${left} left to do`);
});
