import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { type SegmentStoreOptions, segmentStore } from '../../../src/stores/segments/store.js';
import { temporaryDirectory } from '../fixture.js';
import { bodyOfSeed, findingsIn, read } from './fixture.js';
import { transpiled } from './transpiled.js';

/** Of each of two tests that run at the same time. */
const KILLS = 110;
const LONGEST_RUN_MS = 150;
const LONGEST_WRITING_MS = 60;

interface Promised {
  readonly seed: number;
  readonly length: number;
}

/** What the children have said so far. */
class Ledger {
  /** Keys with one writer that were acknowledged, undefined once a delete was. */
  readonly own = new Map<string, Promised | undefined>();
  readonly shared = new Map<string, number>();
  /** Keys for which something was asked that nobody has answered. */
  readonly open = new Set<string>();
  opened = 0;

  hear(line: string): void {
    const [word, key = '', seed, length] = line.split(' ');
    if (word === 'opened') this.opened++;
    if (word === 'intent') this.open.add(key);
    if (word === 'deleted') {
      this.own.set(key, undefined);
      this.open.delete(key);
    }
    if (word !== 'put') return;
    this.open.delete(key);
    if (key.startsWith('shared/')) this.shared.set(key, Number(seed));
    else this.own.set(key, { seed: Number(seed), length: Number(length) });
  }
}

/** Two of three are killed while they write, the others at any time, also before they have opened the store. */
async function runUntilKilled(child: ChildProcess, ledger: Ledger, isWriting: boolean): Promise<void> {
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
  await setTimeout(Math.random() * (isWriting ? LONGEST_WRITING_MS : LONGEST_RUN_MS));
  child.kill('SIGKILL');
  const [code, signal] = await closed;
  if (signal !== 'SIGKILL') throw new Error(`the child ended with ${code ?? signal}: ${errors}`);
  // The last line may have been cut off.
  for (const line of text.split('\n').slice(0, -1)) ledger.hear(line);
}

async function killAgainAndAgain(t: ExecutionContext, options: SegmentStoreOptions & { readonly readOnly?: false }) {
  const dir = await temporaryDirectory(t);
  const program = await transpiled(t, 'writing-child.ts');
  const ledger = new Ledger();
  let slowestOpening = 0;
  for (let run = 1; run <= KILLS; run++) {
    const child = spawn(process.execPath, [program, dir, String(run), JSON.stringify(options)], { stdio: 'pipe' });
    t.teardown(() => child.kill('SIGKILL'));
    await runUntilKilled(child, ledger, run % 3 > 0);
    const start = performance.now();
    const store = await segmentStore(dir, options);
    slowestOpening = Math.max(slowestOpening, performance.now() - start);
    for (const [key, promised] of ledger.own) {
      if (ledger.open.has(key)) continue; // a delete was asked for
      const bytes = await read(store, key);
      if (promised === undefined) t.is(bytes, undefined, `${key} has been deleted`);
      else if (!bytes?.equals(bodyOfSeed(promised.seed, promised.length))) {
        t.fail(`run ${run}: ${key} was acknowledged with ${promised.length} bytes, found ${bytes?.byteLength}`);
      }
      // Once seen in the next process it is like any other.
      if (!key.startsWith(`own/${run}/`) && Math.random() < 0.5) ledger.own.delete(key);
    }
    for (const key of ledger.shared.keys()) {
      const bytes = await read(store, key);
      t.not(bytes, undefined, `${key} was acknowledged`);
      if (bytes === undefined || bytes.byteLength < 4) continue;
      t.true(bytes.equals(bodyOfSeed(bytes.readUInt32LE(), bytes.byteLength)), `${key} is torn`);
    }
    await store.close();
    if (run % 10 === 0 || run === KILLS) t.deepEqual((await findingsIn(dir)).findings, []);
  }
  t.log(`${KILLS} kills, ${ledger.opened} while it wrote; the slowest opening took ${slowestOpening.toFixed(0)} ms`);
  t.true(ledger.opened >= KILLS / 2);
}

test('killed at any moment it has lost nothing that it acknowledged, and serves nothing torn', (t) =>
  killAgainAndAgain(t, { segmentBytes: 400_000 }));

test('the same in segments of the usual size, without waiting for the disk', (t) =>
  killAgainAndAgain(t, { durability: 'none' }));
