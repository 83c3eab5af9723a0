import test from 'ava';
import fc from 'fast-check';
import { type Candidate, EvictionCandidates, OldestFiles } from '../../../src/stores/directory/candidates.js';

const file = (key: string, usedAt: number): Candidate => ({ key, usedAt, diskBytes: 5120 });

async function listOf(files: readonly Candidate[], capacity: number): Promise<EvictionCandidates> {
  const list = new EvictionCandidates(capacity);
  list.beginScan();
  await list.endScan(found(files, capacity));
  return list;
}

function found(files: readonly Candidate[], capacity: number): OldestFiles {
  const oldest = new OldestFiles(capacity);
  for (const each of files) oldest.add(each);
  return oldest;
}

function keysOf(list: EvictionCandidates): string[] {
  const keys: string[] = [];
  for (let next = list.take(); next !== undefined; next = list.take()) keys.push(next.key);
  return keys;
}

test('lists the least recently used files of a scan, the oldest first', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.integer(), { maxLength: 40 }),
      fc.integer({ min: 1, max: 20 }),
      async (times, capacity) => {
        const list = await listOf(
          times.map((time) => file(`${time}`, time)),
          capacity,
        );
        const expected = times.sort((a, b) => a - b).slice(0, capacity);
        t.deepEqual(keysOf(list), expected.map(String));
      },
    ),
  );
});

test('a file that was used takes its place in the order of use', async (t) => {
  const list = await listOf([file('a', 1), file('b', 2), file('c', 4)], 8);
  list.defer(list.take() ?? file('none', 0), 3);
  t.deepEqual(keysOf(list), ['b', 'a', 'c']);
});

test('a complete list takes up uploads, a truncated one does not', async (t) => {
  const complete = await listOf([file('a', 1)], 2);
  complete.addUpload(file('b', 2));
  complete.addUpload(file('c', 3));
  t.deepEqual(keysOf(complete), ['a', 'b']);
  const truncated = await listOf([file('a', 1), file('b', 2), file('c', 3)], 2);
  truncated.take();
  truncated.addUpload(file('d', 4));
  t.deepEqual(keysOf(truncated), ['b']);
});

test('a truncated list is low when half of it was taken; a complete one never is', async (t) => {
  const files = Array.from({ length: 9 }, (_, index) => file(`${index}`, index));
  const truncated = await listOf(files, 8);
  for (let taken = 0; taken < 4; taken++) truncated.take();
  t.false(truncated.isLow);
  truncated.take();
  t.true(truncated.isLow);
  const complete = await listOf(files, 9);
  t.is(keysOf(complete).length, 9);
  t.false(complete.isLow);
});

test('a key is listed once, however often it is deleted and uploaded', async (t) => {
  const list = await listOf([file('a', 1)], 4);
  for (let round = 0; round < 10; round++) {
    list.recordDeletion('a');
    list.addUpload(file('a', 2 + round));
  }
  t.deepEqual(keysOf(list), ['a']);
});

test('tells files that this store has deleted from those that other programs have', async (t) => {
  const list = await listOf([file('a', 1), file('b', 2)], 4);
  list.recordDeletion('a');
  list.take();
  t.false(list.isLost('a'));
  list.take();
  t.true(list.isLost('b'));
});

test('a scan that ends after a file was taken does not have it: it is not lost', async (t) => {
  const list = await listOf([file('a', 1)], 4);
  list.recordDeletion('a');
  list.beginScan();
  list.take();
  await list.endScan(found([], 4));
  t.false(list.isLost('a'));
});

test('a scan yields to the uploads, deletions and evictions during it', async (t) => {
  const list = await listOf([file('evicted', 1), file('deleted', 2)], 8);
  list.beginScan();
  list.take();
  list.recordDeletion('evicted');
  list.recordDeletion('deleted');
  list.addUpload(file('new', 10));
  list.addUpload(file('gone', 11));
  list.recordDeletion('gone');
  list.addUpload(file('deleted', 12));
  await list.endScan(found([file('evicted', 1), file('deleted', 2), file('new', 9), file('found', 3)], 8));
  t.is(list.take()?.key, 'evicted');
  t.false(list.isLost('evicted'));
  t.deepEqual(keysOf(list), ['found', 'new', 'deleted']);
});

test('remembers deletions until a scan that began after them has ended', async (t) => {
  const list = await listOf([file('before', 1), file('during', 2)], 8);
  list.recordDeletion('before');
  list.beginScan();
  list.recordDeletion('during');
  list.take();
  t.false(list.isLost('before'));
  await list.endScan(found([file('during', 2)], 8));
  list.take();
  t.true(list.isLost('before'));
  t.false(list.isLost('during'));
  list.beginScan();
  await list.endScan(found([], 8));
  list.take();
  t.true(list.isLost('during'));
});
