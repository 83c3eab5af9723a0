import { readdir, utimes, writeFile } from 'node:fs/promises';
import test from 'ava';
import { ReplicationQueue } from '../../../src/stores/tiered/replication-queue.js';
import { temporaryDirectory } from '../fixture.js';

const list = (queue: ReplicationQueue): string[] =>
  [...queue.values()].map(({ operation, key }) => `${operation} ${key}`);

test('restores tasks in order, one per key', async (t) => {
  const directory = await temporaryDirectory(t);
  const queue = await ReplicationQueue.open(directory, 100);
  await queue.add('put', 'a');
  await queue.add('put', 'b/ä "');
  await queue.add('put', 'c');
  await queue.add('delete', 'a');
  t.deepEqual(list(queue), ['put b/ä "', 'put c', 'delete a']);
  t.deepEqual(list(await ReplicationQueue.open(directory, 100)), list(queue));
  const [first] = queue.values();
  if (first !== undefined) await queue.remove(first);
  t.deepEqual(list(await ReplicationQueue.open(directory, 100)), ['put c', 'delete a']);
});

test('removing a task keeps a later one of the same key', async (t) => {
  const directory = await temporaryDirectory(t);
  const queue = await ReplicationQueue.open(directory, 100);
  await queue.add('put', 'a');
  const task = queue.get('a');
  await queue.add('put', 'a');
  if (task !== undefined) await queue.remove(task);
  t.deepEqual(list(queue), ['put a']);
  t.deepEqual(list(await ReplicationQueue.open(directory, 100)), ['put a']);
});

test('keeps one task per key when many are added concurrently', async (t) => {
  const directory = await temporaryDirectory(t);
  const queue = await ReplicationQueue.open(directory, 1000);
  const keys = Array.from({ length: 200 }, (_, index) => `key-${index % 50}`);
  await Promise.all(keys.map((key) => queue.add('put', key)));
  t.is(queue.size, 50);
  t.is((await readdir(directory)).length, 50);
});

test('a full queue drops its oldest tasks, also when it is opened', async (t) => {
  const directory = await temporaryDirectory(t);
  const queue = await ReplicationQueue.open(directory, 5);
  for (const key of 'abcdefg') await queue.add('put', key);
  t.deepEqual(list(queue), ['put c', 'put d', 'put e', 'put f', 'put g']);
  const smaller = await ReplicationQueue.open(directory, 2);
  t.deepEqual(list(smaller), ['put f', 'put g']);
  t.is(smaller.dropped, 3);
  t.is((await readdir(directory)).length, 2);
});

test('ignores files that are not tasks, and removes old temporary files', async (t) => {
  const directory = await temporaryDirectory(t);
  const queue = await ReplicationQueue.open(directory, 5);
  await queue.add('put', 'a');
  // A temporary file, a truncated file, and an unknown operation.
  await writeFile(`${directory}/1-x.json.new`, '{"oper');
  await writeFile(`${directory}/1-y.json`, '{"oper');
  await writeFile(`${directory}/1-z.json`, '{"operation":"rename","key":"a"}');
  t.deepEqual(list(await ReplicationQueue.open(directory, 5)), ['put a']);
  t.is((await readdir(directory)).length, 4);
  const anHourAgo = new Date(Date.now() - 61 * 60 * 1000);
  await utimes(`${directory}/1-x.json.new`, anHourAgo, anHourAgo);
  await ReplicationQueue.open(directory, 5);
  t.false((await readdir(directory)).includes('1-x.json.new'), 'the temporary file of a killed process is removed');
});
