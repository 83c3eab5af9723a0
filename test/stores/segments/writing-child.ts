// Writes to a segment store until it is killed, and says what it has done, one line each:
//   opened | locked | intent KEY | put KEY SEED LENGTH | deleted KEY
// Arguments: the directory, a number that no other child has, and the store's options as JSON.
import { setMaxListeners } from 'node:events';
import { writeSync } from 'node:fs';
import { Readable } from 'node:stream';
import { type SegmentStoreOptions, segmentStore } from '../../../src/stores/segments/store.js';
import { content } from '../fixture.js';

const [dir = '', run = '', options = '{}'] = process.argv.slice(2);
const CLIENTS = 12;

// Synchronous: when the process is killed, what has been said has been heard.
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

/** As `bodyOfSeed`, which needs AVA's types beside it. */
function bodyOf(seed: number, length: number): Buffer {
  const bytes = content(length, seed);
  if (length >= 4) bytes.writeUInt32LE(seed);
  return bytes;
}

function randomLength(): number {
  const kind = Math.random();
  if (kind < 0.3) return Math.floor(Math.random() * 300);
  if (kind < 0.9) return Math.floor(Math.random() * 20_000);
  return 250_000 + Math.floor(Math.random() * 50_000);
}

// What is asked of it is what its caller passed.
const parsed = JSON.parse(options) as SegmentStoreOptions & { readonly readOnly?: false };
const store = await segmentStore(dir, parsed).catch((error: unknown) => {
  if (!(error instanceof Error && 'code' in error && error.code === 'ERR_HOTBLOB_LOCKED')) throw error;
  say('locked');
  process.exit(0);
});
say('opened');

const { signal } = new AbortController();
setMaxListeners(0, signal);
let count = 0;

async function client(): Promise<never> {
  for (;;) {
    const seed = Number(run) * 100_000 + ++count;
    const length = randomLength();
    const isShared = Math.random() < 0.2;
    const key = isShared ? `shared/${seed % 8}` : `own/${run}/${seed}`;
    say(`intent ${key}`);
    const bytes = bodyOf(seed, length);
    const half = Math.floor(length / 2);
    const size = Math.random() < 0.7 ? length : undefined;
    await store.put(key, Readable.from([bytes.subarray(0, half), bytes.subarray(half)]), { signal, size });
    say(`put ${key} ${seed} ${length}`);
    if (isShared || Math.random() > 0.1) continue;
    say(`intent ${key}`);
    await store.delete(key);
    say(`deleted ${key}`);
  }
}

await Promise.all(Array.from({ length: CLIENTS }, client));
