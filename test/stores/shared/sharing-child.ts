// Uploads to a shared store, reads and deletes until it is killed. Reports each step on a line of stdout:
//   opened | writer | intent KEY | put KEY SEED LENGTH | deleted KEY
// Arguments: the directory, a number that is unique to the child, the options of the store as JSON, and the seed of its
// random numbers.
import { Readable } from 'node:stream';
import { errnoCode } from '../../../src/contract/errors.js';
import { type SharedStoreOptions, sharedStore } from '../../../src/stores/shared/store.js';
import { randomNumbers } from '../../helpers/random.js';
import { bodyOfSeed } from '../segments/fixture.js';
import { randomLength, report } from '../segments/reports.js';
import { readShared } from './read.js';

const [dir = '', run = '', options = '{}', seed = run] = process.argv.slice(2);
const random = randomNumbers(Number(seed));
const CLIENTS = 4;
/** Number of artifacts that a client keeps. */
const KEPT = 5;
const SHARED_KEYS = 8;

// The parent passes options of this type.
const store = await sharedStore(dir, JSON.parse(options) as SharedStoreOptions);
report('opened');

let wasWriter = false;
let count = 0;

/** Calls an operation. Resolves to false if the writer was killed during the operation. */
async function attempt(operation: () => Promise<unknown>): Promise<boolean> {
  try {
    await operation();
  } catch (error) {
    if (errnoCode(error) !== 'ERR_HOTBLOB_WRITER_GONE') throw error;
    return false;
  } finally {
    if (store.isWriter && !wasWriter) report('writer');
    wasWriter = store.isWriter;
  }
  return true;
}

async function assertStored(key: string, expected: Buffer | undefined): Promise<void> {
  const bytes = await readShared(store, key);
  const isExpected = expected === undefined ? bytes === undefined : bytes?.equals(expected);
  if (!isExpected) {
    const role = store.isWriter ? 'writer' : 'reader';
    throw new Error(`${role}: ${key}: expected ${expected?.byteLength} bytes, received ${bytes?.byteLength} others`);
  }
}

/** Artifacts under these keys are uploaded by all processes, so only the integrity of their bytes is known. */
async function assertIntact(key: string): Promise<void> {
  const bytes = await readShared(store, key);
  if (bytes === undefined || bytes.byteLength < 4) return;
  if (!bytes.equals(bodyOfSeed(bytes.readUInt32LE(), bytes.byteLength))) throw new Error(`${key} has wrong bytes`);
}

async function client(): Promise<never> {
  const kept: { readonly key: string; readonly bytes: Buffer }[] = [];
  for (;;) {
    const bodySeed = Number(run) * 100_000 + ++count;
    const length = randomLength(random);
    const isShared = random() < 0.2;
    const key = isShared ? `shared/${bodySeed % SHARED_KEYS}` : `own/${run}/${bodySeed}`;
    report(`intent ${key}`);
    const bytes = bodyOfSeed(bodySeed, length);
    const half = Math.floor(length / 2);
    const size = random() < 0.7 ? length : undefined;
    const body = Readable.from([bytes.subarray(0, half), bytes.subarray(half)]);
    if (await attempt(() => store.put(key, body, { size }))) {
      report(`put ${key} ${bodySeed} ${length}`);
      if (!isShared) {
        kept.push({ key, bytes });
        await assertStored(key, bytes);
      }
    }
    await assertIntact(`shared/${Math.floor(random() * SHARED_KEYS)}`);
    const other = kept[Math.floor(random() * kept.length)];
    if (other !== undefined) await assertStored(other.key, other.bytes);
    if (kept.length < KEPT) continue;
    const [deleted] = kept.splice(Math.floor(random() * kept.length), 1);
    if (deleted === undefined) continue;
    report(`intent ${deleted.key}`);
    if (!(await attempt(() => store.delete(deleted.key)))) continue;
    report(`deleted ${deleted.key}`);
    await assertStored(deleted.key, undefined);
  }
}

await Promise.all(Array.from({ length: CLIENTS }, client));
