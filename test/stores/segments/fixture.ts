import { open } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import type { ExecutionContext } from 'ava';
import type { Artifact } from '../../../src/contract/artifact.js';
import type { SegmentStoreReader } from '../../../src/stores/segments/store.js';
import { type SegmentFinding, verifySegments } from '../../../src/stores/segments/verify.js';
import { content, never } from '../fixture.js';

/** Returns a body that is unique to its seed, if it has at least four bytes: it starts with the seed. */
export function bodyOfSeed(seed: number, length: number): Buffer {
  const bytes = content(length, seed);
  if (length >= 4) bytes.writeUInt32LE(seed);
  return bytes;
}

/** Reads the artifact under `key` without a handler. Resolves to `undefined` for a miss. */
export async function read(store: SegmentStoreReader, key: string): Promise<Buffer | undefined> {
  for (;;) {
    const artifact = await store.get(key, { signal: never() });
    if (artifact === undefined) return undefined;
    try {
      return await bytesOf(artifact);
    } catch (error) {
      // Compaction may have moved the body since `get`. If `get` still returns the same location, the file is missing.
      const current = await store.get(key, { signal: never() });
      if (isDeepStrictEqual(current, artifact)) throw error;
    }
  }
}

export async function bytesOf(artifact: Artifact): Promise<Buffer> {
  if (artifact.kind === 'bytes') return Buffer.from(artifact.bytes);
  if (artifact.kind !== 'file') throw new Error('a segment store returns no streams');
  const { path, offset = 0, length = 0 } = artifact;
  const handle = await open(path);
  try {
    const bytes = Buffer.alloc(length);
    const { bytesRead } = await handle.read(bytes, 0, length, offset);
    return bytes.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** Asserts that `key` has the bytes `expected`. Unlike `t.deepEqual`, a failure does not print all of them. */
export async function assertBody(
  t: ExecutionContext,
  store: SegmentStoreReader,
  key: string,
  expected: Buffer,
): Promise<void> {
  const bytes = await read(store, key);
  t.true(
    bytes?.equals(expected),
    `${key}: received ${bytes?.byteLength} bytes that differ from the ${expected.byteLength} expected`,
  );
}

/** Collects the findings and totals of `verifySegments`. */
export async function findingsIn(
  dir: string,
): Promise<{ readonly findings: SegmentFinding[]; readonly artifacts: number; readonly bytes: number }> {
  const findings: SegmentFinding[] = [];
  const verification = verifySegments(dir);
  for (;;) {
    const next = await verification.next();
    if (next.done) return { findings, ...next.value };
    findings.push(next.value);
  }
}
