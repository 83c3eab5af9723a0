// Writes to a segment store until it is killed, and reports each step on a line of stdout:
//   opened | locked | intent KEY | put KEY SEED LENGTH | deleted KEY
// Arguments: the directory, a number that is unique to the child, and the options of the store as JSON.
import { setMaxListeners } from 'node:events';
import { writeSync } from 'node:fs';
import { Readable } from 'node:stream';
import { type SegmentStoreOptions, segmentStore } from '../../../src/stores/segments/store.js';
import { bodyOfSeed } from './fixture.js';

const [dir = '', run = '', options = '{}'] = process.argv.slice(2);
const CLIENTS = 12;

// Synchronous: a reported line reaches the parent even if the process is killed immediately afterwards.
function report(line: string): void {
  writeSync(1, `${line}\n`);
}

function randomLength(): number {
  const kind = Math.random();
  if (kind < 0.3) return Math.floor(Math.random() * 300);
  if (kind < 0.9) return Math.floor(Math.random() * 20_000);
  return 250_000 + Math.floor(Math.random() * 50_000);
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
    const seed = Number(run) * 100_000 + ++count;
    const length = randomLength();
    const isShared = Math.random() < 0.2;
    const key = isShared ? `shared/${seed % 8}` : `own/${run}/${seed}`;
    report(`intent ${key}`);
    const bytes = bodyOfSeed(seed, length);
    const half = Math.floor(length / 2);
    const size = Math.random() < 0.7 ? length : undefined;
    await store.put(key, Readable.from([bytes.subarray(0, half), bytes.subarray(half)]), { signal, size });
    report(`put ${key} ${seed} ${length}`);
    if (isShared || Math.random() > 0.1) continue;
    report(`intent ${key}`);
    await store.delete(key);
    report(`deleted ${key}`);
  }
}

await Promise.all(Array.from({ length: CLIENTS }, client));
