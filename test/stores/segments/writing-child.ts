// Writes to a segment store until it is killed, and reports each step on a line of stdout:
//   opened | locked | intent KEY | put KEY SEED LENGTH | deleted KEY
// Arguments: the directory, a number that is unique to the child, the options of the store as
// JSON, and the seed of its random numbers (default: the number).
import { setMaxListeners } from 'node:events';
import { Readable } from 'node:stream';
import { type SegmentStoreOptions, segmentStore } from '../../../src/stores/segments/store.js';
import { randomNumbers } from '../../helpers/random.js';
import { bodyOfSeed } from './fixture.js';
import { randomLength, report } from './reports.js';

const [dir = '', run = '', options = '{}', seed = run] = process.argv.slice(2);
const random = randomNumbers(Number(seed));
const CLIENTS = 12;

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
    const length = randomLength(random);
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
