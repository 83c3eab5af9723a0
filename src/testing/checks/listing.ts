import assert from 'node:assert/strict';
import type { StoreEntry } from '../../contract/store.js';
import { assertArtifact } from '../artifacts.js';
import { assertBytes, content } from '../bodies.js';
import { type Check, ifDeletable, ifWritable } from '../check.js';
import type { Subject } from '../subject.js';

const KEYS = ['key', 'ac/0123', 'ac/0124', 'b c/d?e=1', 'ac.0123'];
/** Clocks of file systems and of processes differ. */
const CLOCK_MS = 60_000;

/** `list`, of a store that has it. Whether one has is seen only when it is there: the others pass. */
export const listing: readonly Check[] = [
  {
    title: 'a store that can be listed lists what is there: each artifact once, with its key and its size',
    async run(subject) {
      if (subject.store.list === undefined) return;
      assertListed(await subject.list(), {}, 'of an empty store');
      const there: Record<string, Buffer> = {};
      for (const [seed, key] of KEYS.entries()) {
        const bytes = content(seed === 0 ? subject.largeBytes : 1000 * seed - 1000, seed);
        there[key] = bytes;
        await subject.fill(key, bytes);
      }
      const entries = await subject.list();
      assertListed(entries, there, 'of what was put');
      for (const entry of entries) await assertReadable(subject, entry, there[entry.key] ?? Buffer.alloc(0));
      await leaveEarly(subject);
      assertListed(await subject.list(), there, 'after a list that nobody has read to its end');
    },
  },
  {
    title: 'a store that can be listed lists what an overwrite has put',
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
    title: 'a store that can be listed does not list what was deleted',
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
  const wanted = describe(sizes);
  const found = describe(entries);
  assert(found === wanted, `the list ${when}: expected ${wanted}, found ${found}`);
}

function describe(entries: readonly { readonly key: string; readonly size: number }[]): string {
  return entries.map(({ key, size }) => `'${key}' (${size})`).join(', ') || 'nothing';
}

async function assertReadable(subject: Subject, entry: StoreEntry, expected: Uint8Array): Promise<void> {
  const { key, artifact, usedAt } = entry;
  assertArtifact(artifact);
  const isTime = Number.isFinite(usedAt) && usedAt >= 0 && usedAt <= Date.now() + CLOCK_MS;
  assert(isTime, `'${key}': expected usedAt in milliseconds since 1970, or 0, found ${usedAt}`);
  const reading = await subject.begin(artifact);
  assert(reading !== undefined, `the artifact that is listed as '${key}' is not there`);
  assertBytes(await subject.drain(reading), expected, `the artifact that is listed as '${key}'`);
}

async function leaveEarly({ store }: Subject): Promise<void> {
  for await (const _ of store.list?.() ?? []) return;
}
