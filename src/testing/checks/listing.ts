import assert from 'node:assert/strict';
import type { StoreEntry } from '../../contract/store.js';
import { assertArtifact } from '../artifacts.js';
import { assertBytes, content } from '../bodies.js';
import type { Subject } from '../subject.js';
import { type Check, ifDeletable, ifWritable } from './check.js';

const KEYS = ['key', 'ac/0123', 'ac/0124', 'b c/d?e=1', 'ac.0123'];
/** Tolerance for the difference between the clocks of the store and of this process. */
const CLOCK_TOLERANCE_MS = 60_000;

/**
 * Checks of `list`. A store without `list` passes them: only after a store was created is it known whether it has
 * `list`.
 */
export const listing: readonly Check[] = [
  {
    title: 'list() returns each artifact once, with its key and size',
    async run(subject) {
      if (subject.store.list === undefined) return;
      assertListed(await subject.list(), {}, 'of an empty store');
      const stored: Record<string, Buffer> = {};
      for (const [seed, key] of KEYS.entries()) {
        const bytes = content(seed === 0 ? subject.largeBytes : 1000 * seed - 1000, seed);
        stored[key] = bytes;
        await subject.add(key, bytes);
      }
      const entries = await subject.list();
      assertListed(entries, stored, 'of the stored artifacts');
      for (const entry of entries) await assertReadable(subject, entry, stored[entry.key] ?? Buffer.alloc(0));
      await abandonList(subject);
      assertListed(await subject.list(), stored, 'after an abandoned iteration');
    },
  },
  {
    title: 'list() returns the new size after an overwrite',
    applies: ifWritable,
    async run(subject) {
      if (subject.store.list === undefined) return;
      for (const length of [1000, subject.largeBytes, 10]) {
        await subject.put('a/key', content(length));
        assertListed(await subject.list(), { 'a/key': content(length) }, 'after an overwrite');
      }
    },
  },
  {
    title: 'list() does not return deleted artifacts',
    applies: ifDeletable,
    async run(subject) {
      if (subject.store.list === undefined) return;
      await subject.put('a/b', content(1000));
      await subject.put('a/c', content(2000));
      await subject.delete('a/b');
      assertListed(await subject.list(), { 'a/c': content(2000) }, 'after a deletion');
      await subject.delete('a/c');
      assertListed(await subject.list(), {}, 'after the last deletion');
    },
  },
];

function assertListed(
  entries: readonly StoreEntry[],
  expected: Readonly<Record<string, Uint8Array>>,
  when: string,
): void {
  const sizes = Object.entries(expected).map(([key, { byteLength }]) => ({ key, size: byteLength }));
  sizes.sort((a, b) => (a.key < b.key ? -1 : 1));
  const expectedText = describe(sizes);
  const actualText = describe(entries);
  assert(actualText === expectedText, `list() ${when}: expected ${expectedText}, received ${actualText}`);
}

function describe(entries: readonly { readonly key: string; readonly size: number }[]): string {
  return entries.map(({ key, size }) => `'${key}' (${size})`).join(', ') || 'nothing';
}

async function assertReadable(subject: Subject, entry: StoreEntry, expected: Uint8Array): Promise<void> {
  const { key, artifact, usedAt } = entry;
  assertArtifact(artifact);
  const isTime = Number.isFinite(usedAt) && usedAt >= 0 && usedAt <= Date.now() + CLOCK_TOLERANCE_MS;
  assert(isTime, `usedAt of '${key}': expected 0 or a past time in milliseconds since 1970, received ${usedAt}`);
  const reader = await subject.openArtifact(artifact);
  assert(reader !== undefined, `the artifact that list() returned for '${key}' does not exist`);
  assertBytes(await subject.readToEnd(reader), expected, `artifact that list() returned for '${key}'`);
}

async function abandonList({ store }: Subject): Promise<void> {
  for await (const _ of store.list?.() ?? []) return;
}
