import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { type SegmentStoreOptions, segmentStore } from '../../../src/stores/segments/store.js';
import { randomNumbers } from '../../helpers/random.js';
import { temporaryDirectory } from '../fixture.js';
import { bodyOfSeed, findingsIn, read } from './fixture.js';
import { Ledger } from './ledger.js';
import { transpiled } from './transpiled.js';

/** Kills per test. KILL_SEED repeats the delays and the operations of a run. */
const KILLS = Number(process.env['KILLS'] ?? 40);
const MAX_RUN_MS = 150;
const MAX_WRITING_MS = 60;

/**
 * Kills the child after `delayMs` and records its output.
 *
 * @param isWriting whether to wait until the child has opened the store; otherwise the kill may come before that
 */
async function runUntilKilled(child: ChildProcess, ledger: Ledger, isWriting: boolean, delayMs: number): Promise<void> {
  let text = '';
  const hasOpened = new Promise<void>((resolve) => {
    child.stdout?.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
      if (text.startsWith('opened\n')) resolve();
    });
  });
  let errors = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk;
  });
  const closed = once(child, 'close');
  if (isWriting) await Promise.race([hasOpened, closed]);
  await setTimeout(delayMs);
  child.kill('SIGKILL');
  const [code, signal] = await closed;
  if (signal !== 'SIGKILL') throw new Error(`the child ended with ${code ?? signal}: ${errors}`);
  // The last line may be incomplete.
  for (const line of text.split('\n').slice(0, -1)) ledger.record(line);
}

async function killRepeatedly(t: ExecutionContext, options: SegmentStoreOptions & { readonly readOnly?: false }) {
  t.timeout(30 * 60_000);
  const dir = await temporaryDirectory(t);
  const program = await transpiled(t, 'writing-child.ts');
  const ledger = new Ledger();
  const seed = Number(process.env['KILL_SEED'] ?? randomInt(2 ** 31));
  t.log(`KILL_SEED=${seed}`);
  const random = randomNumbers(seed);
  let slowestStart = 0;
  for (let run = 1; run <= KILLS; run++) {
    const args = [program, dir, String(run), JSON.stringify(options), String(seed + run)];
    const child = spawn(process.execPath, args, { stdio: 'pipe' });
    t.teardown(() => child.kill('SIGKILL'));
    const isWriting = run % 3 > 0;
    await runUntilKilled(child, ledger, isWriting, random() * (isWriting ? MAX_WRITING_MS : MAX_RUN_MS));
    const start = performance.now();
    const store = await segmentStore(dir, options);
    slowestStart = Math.max(slowestStart, performance.now() - start);
    for (const [key, acknowledged] of ledger.own) {
      if (ledger.unacknowledged.has(key)) continue; // a delete may have taken effect
      const bytes = await read(store, key);
      if (acknowledged === undefined) t.is(bytes, undefined, `${key} was deleted`);
      else if (!bytes?.equals(bodyOfSeed(acknowledged.seed, acknowledged.length))) {
        t.fail(`run ${run}: ${key} was acknowledged with ${acknowledged.length} bytes, received ${bytes?.byteLength}`);
      }
      // Keys of earlier runs are dropped at random, so that the check does not grow with every run.
      if (!key.startsWith(`own/${run}/`) && random() < 0.5) ledger.own.delete(key);
    }
    for (const key of ledger.shared.keys()) {
      const bytes = await read(store, key);
      t.not(bytes, undefined, `${key} was acknowledged`);
      if (bytes === undefined || bytes.byteLength < 4) continue;
      t.true(
        bytes.equals(bodyOfSeed(bytes.readUInt32LE(), bytes.byteLength)),
        `${key} mixes the bytes of several uploads`,
      );
    }
    await store.close();
    if (run % 10 === 0 || run === KILLS) t.deepEqual((await findingsIn(dir)).findings, []);
  }
  t.log(`${KILLS} kills, ${ledger.opened} with an open store; slowest start ${slowestStart.toFixed(0)} ms`);
  t.true(ledger.opened >= KILLS / 2);
}

test('after a kill at any moment, every acknowledged upload is stored and intact', (t) =>
  killRepeatedly(t, { segmentBytes: 400_000 }));

test('after a kill at any moment, every acknowledged upload is stored and intact, with durability none', (t) =>
  killRepeatedly(t, { durability: 'none' }));
