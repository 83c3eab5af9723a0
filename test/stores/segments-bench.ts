// Compares a segment store with a directory store: `node --import=tsx test/stores/segments-bench.ts [artifacts]`.
import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { lstat, mkdtemp, opendir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { ReadWriteStore, Store } from '../../src/contract/store.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { segmentStore } from '../../src/stores/segments/store.js';

const KIB = 1024;
const SMALLEST = 2 * KIB;
const LARGEST = 64 * KIB;
/** Number of concurrent uploads. */
const CONCURRENCY = 64;
/** The stores write alternately, one part of the artifacts per round, so that both run under the same conditions. */
const ROUNDS = 5;

const artifacts = Number(process.argv[2] ?? 100_000);
const noise = randomBytes(2 * LARGEST);
const { signal } = new AbortController();
setMaxListeners(0, signal);

function keyOf(index: number): string {
  return `${(index % 256).toString(16).padStart(2, '0')}/${index.toString(16).padStart(62, 'a')}`;
}

/** Returns the same body for both stores. Lengths are distributed logarithmically from 2 to 64 KiB. */
function bodyOf(index: number): Buffer {
  const length = Math.floor(SMALLEST * (LARGEST / SMALLEST) ** (((index * 7919) % 10_007) / 10_007));
  const start = (index * 104729) % (noise.byteLength - length);
  return noise.subarray(start, start + length);
}

async function write(store: ReadWriteStore, from: number, to: number): Promise<number> {
  const start = performance.now();
  let next = from;
  const client = async (): Promise<void> => {
    for (let index = next++; index < to; index = next++) {
      const body = bodyOf(index);
      await store.put(keyOf(index), Readable.from([body]), { signal, size: body.byteLength });
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, client));
  return (performance.now() - start) / 1000;
}

/** Returns the disk usage of a directory tree in bytes. */
async function diskBytes(path: string): Promise<number> {
  let bytes = 0;
  for await (const entry of await opendir(path)) {
    const below = join(path, entry.name);
    bytes += (await lstat(below)).blocks * 512;
    if (entry.isDirectory()) bytes += await diskBytes(below);
  }
  return bytes;
}

function percentile(sorted: Float64Array, part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

async function lookups(store: Store): Promise<Float64Array> {
  for (let index = 0; index < artifacts; index++) await store.get(keyOf(index), { signal });
  const times = new Float64Array(Math.min(artifacts, 100_000));
  for (let look = 0; look < times.length; look++) {
    const key = keyOf((look * 7919) % artifacts);
    const start = performance.now();
    store.get(key, { signal });
    times[look] = (performance.now() - start) * 1000;
    // Yields to the event loop like a server: LMDB renews its read transaction in each turn.
    if (look % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return times.sort();
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

const root = await mkdtemp('/var/tmp/hotblob-segments-bench-');
try {
  const directory = await directoryStore(join(root, 'directory'));
  const segments = await segmentStore(join(root, 'segments'));
  const seconds = { directory: 0, segments: 0 };
  let bytes = 0;
  for (let index = 0; index < artifacts; index++) bytes += bodyOf(index).byteLength;
  for (let round = 0; round < ROUNDS; round++) {
    const [from, to] = [round, round + 1].map((part) => Math.floor((part * artifacts) / ROUNDS));
    const ours = await write(segments, from ?? 0, to ?? 0);
    const theirs = await write(directory, from ?? 0, to ?? 0);
    seconds.segments += ours;
    seconds.directory += theirs;
    print(
      `round ${round + 1}: segments ${ours.toFixed(1)} s, directory ${theirs.toFixed(1)} s: ${(theirs / ours).toFixed(2)}x`,
    );
  }
  const rate = (time: number): string => (artifacts / time).toFixed(0);
  print(`files per second: segments ${rate(seconds.segments)}, directory ${rate(seconds.directory)}`);
  const taken = [await diskBytes(segments.root), await diskBytes(directory.root)];
  print(`bytes on disk over bytes of bodies: ${taken.map((each) => (each / bytes).toFixed(3)).join(' and ')}`);
  const times = await lookups(segments);
  print(`lookup, warm: p50 ${percentile(times, 0.5).toFixed(2)} us, p99 ${percentile(times, 0.99).toFixed(2)} us`);
  await segments.close();
  const start = performance.now();
  const again = await segmentStore(join(root, 'segments'));
  print(`opening: ${(performance.now() - start).toFixed(0)} ms`);
  await again.close();
  await directory.close();
} finally {
  await rm(root, { recursive: true });
}
