import { open } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import type { ExecutionContext } from 'ava';
import type { Artifact } from '../../../src/contract/artifact.js';
import type { SegmentStoreReader } from '../../../src/stores/segments/store.js';
import { type SegmentFinding, verifySegments } from '../../../src/stores/segments/verify.js';
import { content, never } from '../fixture.js';

/** Bytes of a body that no other seed has. */
export function bodyOfSeed(seed: number, length: number): Buffer {
  const bytes = content(length, seed);
  if (length >= 4) bytes.writeUInt32LE(seed);
  return bytes;
}

/** What a client would get, read without the handler; undefined for a miss. */
export async function read(store: SegmentStoreReader, key: string): Promise<Buffer | undefined> {
  for (;;) {
    const artifact = await store.get(key, { signal: never() });
    if (artifact === undefined) return undefined;
    try {
      return await bytesOf(artifact);
    } catch (error) {
      // Copied forward since the store was asked; that it is gone altogether would come again.
      const now = await store.get(key, { signal: never() });
      if (isDeepStrictEqual(now, artifact)) throw error;
    }
  }
}

export async function bytesOf(artifact: Artifact): Promise<Buffer> {
  if (artifact.kind === 'bytes') return Buffer.from(artifact.bytes);
  if (artifact.kind !== 'file') throw new Error('a segment store has no streams');
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

/** Asserts that `key` has these bytes, without a page of them where it has not. */
export async function assertBody(
  t: ExecutionContext,
  store: SegmentStoreReader,
  key: string,
  expected: Buffer,
): Promise<void> {
  const bytes = await read(store, key);
  t.true(bytes?.equals(expected), `${key}: ${bytes?.byteLength} bytes, expected other ${expected.byteLength}`);
}

/** All that `verifySegments` has to say. */
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
