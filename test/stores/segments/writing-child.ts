// Writes to a segment store until it is killed, and reports each step on a line of stdout:
//   opened | locked | intent KEY | put KEY SEED LENGTH | deleted KEY
// Arguments: the directory, a number that is unique to the child, the options of the store as
// JSON, and the seed of its random numbers (default: the number).
import { setMaxListeners } from 'node:events';
import { writeSync } from 'node:fs';
import { Readable } from 'node:stream';
import { type SegmentStoreOptions, segmentStore } from '../../../src/stores/segments/store.js';
import { randomNumbers } from '../../helpers/random.js';
import { bodyOfSeed } from './fixture.js';

const [dir = '', run = '', options = '{}', seed = run] = process.argv.slice(2);
const random = randomNumbers(Number(seed));
const CLIENTS = 12;

// Synchronous: a reported line reaches the parent even if the process is killed immediately afterwards.
function report(line: string): void {
  writeSync(1, `${line}\n`);
}

function randomLength(): number {
  const kind = random();
  if (kind < 0.3) return Math.floor(random() * 300);
  if (kind < 0.9) return Math.floor(random() * 20_000);
  return 250_000 + Math.floor(random() * 50_000);
}

// The parent passes options of this type.
const parsed = JSON.parse(options) as SegmentStoreOptions & { readonly readOnly?: false };
const store = await segmentStore(dir, parsed).catch((error: unknown) => {
  if (!(error instanceof Error && 'code' in error && error.code === 'ERR_HOTBLOB_LOCKED')) throw error;
  report('locked');
  process.exit(0);
});
report('opened');

const { signal } = new AbortController();
setMaxListeners(0, signal);
let count = 0;

async function client(): Promise<never> {
  for (;;) {
    const bodySeed = Number(run) * 100_000 + ++count;
    const length = randomLength();
    const isShared = random() < 0.2;
    const key = isShared ? `shared/${bodySeed % 8}` : `own/${run}/${bodySeed}`;
    report(`intent ${key}`);
    const bytes = bodyOfSeed(bodySeed, length);
    const half = Math.floor(length / 2);
    const size = random() < 0.7 ? length : undefined;
    await store.put(key, Readable.from([bytes.subarray(0, half), bytes.subarray(half)]), { signal, size });
    report(`put ${key} ${bodySeed} ${length}`);
    if (isShared || random() > 0.1) continue;
    report(`intent ${key}`);
    await store.delete(key);
    report(`deleted ${key}`);
  }
}

await Promise.all(Array.from({ length: CLIENTS }, client));
