import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { segmentStore } from '../../../src/stores/segments/store.js';
import { type SharedStoreOptions, sharedStore } from '../../../src/stores/shared/store.js';
import { randomNumbers } from '../../helpers/random.js';
import { temporaryDirectory } from '../fixture.js';
import { bodyOfSeed, findingsIn } from '../segments/fixture.js';
import { Ledger } from '../segments/ledger.js';
import { transpiled } from '../segments/transpiled.js';
import { readShared } from './read.js';

/** Kills per test. KILL_SEED repeats the delays, the victims and the operations of a run. */
const KILLS = Number(process.env['KILLS'] ?? 40);
const PROCESSES = 3;
const MAX_PAUSE_MS = 120;
/** Number of kills after which the artifacts of killed processes are checked. */
const CHECK_AFTER = 10;

type Role = 'writer' | 'reader' | 'starting';

/** Process that uploads, reads and deletes until it is killed. */
class Victim {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown[]>;
  readonly #ledger: Ledger;
  #text = '';
  #errors = '';
  role: Role = 'starting';
  /** Called after each acknowledged upload. */
  onPut = (): void => {};

  constructor(child: ChildProcess, ledger: Ledger) {
    this.#child = child;
    this.#ledger = ledger;
    this.#closed = once(child, 'close');
    child.stdout?.setEncoding('latin1').on('data', (chunk: string) => this.#onText(chunk));
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#errors += chunk;
    });
  }

  /** Rejects if the process ends before it is killed. */
  async ended(): Promise<never> {
    const [code, signal] = await this.#closed;
    throw new Error(`a process ended with ${code ?? signal}: ${this.#errors}`);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    const [code, signal] = await this.#closed;
    if (signal !== 'SIGKILL') throw new Error(`a process ended with ${code ?? signal}: ${this.#errors}`);
  }

  #onText(chunk: string): void {
    const lines = (this.#text + chunk).split('\n');
    this.#text = lines.pop() ?? '';
    for (const line of lines) {
      this.#ledger.record(line);
      if (line === 'opened') this.role = 'reader';
      if (line === 'writer') this.role = 'writer';
      if (line.startsWith('put')) this.onPut();
    }
  }
}

async function killRepeatedly(t: ExecutionContext, options: SharedStoreOptions): Promise<void> {
  t.timeout(10 * 60_000);
  const dir = await temporaryDirectory(t);
  const program = await transpiled(t, 'sharing-child.ts', 'shared');
  const ledger = new Ledger();
  const seed = Number(process.env['KILL_SEED'] ?? randomInt(2 ** 31));
  t.log(`KILL_SEED=${seed}`);
  const random = randomNumbers(seed);
  let started = 0;
  const start = (): Victim => {
    const run = ++started;
    const args = [program, dir, String(run), JSON.stringify(options), String(seed + run)];
    const child = spawn(process.execPath, args, { stdio: 'pipe' });
    t.teardown(() => child.kill('SIGKILL'));
    return new Victim(child, ledger);
  };
  const victims = Array.from({ length: PROCESSES }, start);
  const kills: Record<Role, number> = { writer: 0, reader: 0, starting: 0 };
  let slowest = 0;
  /** Waits for an upload that a process acknowledges, which needs a writer. */
  const progress = (): Promise<unknown> =>
    Promise.race(
      victims.flatMap((victim) => [
        victim.ended(),
        new Promise<void>((resolve) => {
          victim.onPut = resolve;
        }),
      ]),
    );
  await progress();
  for (let killed = 0, checked = 0; killed < KILLS; ) {
    await setTimeout(random() * MAX_PAUSE_MS);
    // A third of the kills are of the writer, if it is known; every fifth kill is of two processes at once.
    const writer = victims.findIndex(({ role }) => role === 'writer');
    const first = random() < 1 / 3 && writer >= 0 ? writer : Math.floor(random() * PROCESSES);
    const chosen = random() < 0.2 ? [first, (first + 1) % PROCESSES] : [first];
    await Promise.all(
      chosen.map(async (index) => {
        const victim = victims[index];
        if (victim === undefined) return;
        kills[victim.role]++;
        victims[index] = start();
        await victim.kill();
      }),
    );
    killed += chosen.length;
    const since = performance.now();
    await progress();
    slowest = Math.max(slowest, performance.now() - since);
    if (killed < checked + CHECK_AFTER) continue;
    checked = killed;
    await checkEnded(t, dir, options, ledger, started - 2 * PROCESSES);
  }
  await Promise.all(victims.map((victim) => victim.kill()));
  const store = await sharedStore(dir, options);
  t.teardown(() => store.close());
  t.true(store.isWriter);
  await checkStored(t, store, ledger, () => true);
  await store.close();
  if (options.kind === 'segments') t.deepEqual((await findingsIn(dir)).findings, []);
  const { writer, reader, starting } = kills;
  t.log(`kills: writer ${writer}, reader ${reader}, starting ${starting}; slowest upload ${slowest.toFixed(0)} ms`);
  t.true(writer > 0 && reader > 0);
}

/** Checks the artifacts of processes that were killed. */
async function checkEnded(
  t: ExecutionContext,
  dir: string,
  options: SharedStoreOptions,
  ledger: Ledger,
  lastRun: number,
): Promise<void> {
  const isDirectory = options.kind === 'directory';
  const store = await (isDirectory ? directoryStore(dir, { readOnly: true }) : segmentStore(dir, { readOnly: true }));
  await checkStored(t, store, ledger, (run) => run <= lastRun);
  await store.close?.();
}

async function checkStored(
  t: ExecutionContext,
  store: Parameters<typeof readShared>[0],
  ledger: Ledger,
  isChecked: (run: number) => boolean,
): Promise<void> {
  for (const [key, acknowledged] of ledger.own) {
    if (ledger.unacknowledged.has(key) || !isChecked(Number(key.split('/')[1]))) continue;
    const bytes = await readShared(store, key);
    if (acknowledged === undefined) t.is(bytes, undefined, `${key} was deleted`);
    else if (!bytes?.equals(bodyOfSeed(acknowledged.seed, acknowledged.length))) {
      t.fail(`${key} was acknowledged with ${acknowledged.length} bytes, received ${bytes?.byteLength}`);
    }
  }
  for (const key of ledger.shared.keys()) {
    const bytes = await readShared(store, key);
    t.not(bytes, undefined, `${key} was acknowledged`);
    if (bytes === undefined || bytes.byteLength < 4) continue;
    t.true(bytes.equals(bodyOfSeed(bytes.readUInt32LE(), bytes.byteLength)), `${key} mixes the bytes of uploads`);
  }
}

for (const kind of ['directory', 'segments'] as const) {
  test.serial(`${kind}: killed processes lose no acknowledged upload, and another process becomes the writer`, (t) =>
    killRepeatedly(t, kind === 'segments' ? { kind, segmentBytes: 400_000 } : { kind }),
  );
}
