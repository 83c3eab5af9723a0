import { readdir, utimes, writeFile } from 'node:fs/promises';
import test from 'ava';
import { ReplicationQueue } from '../../../src/stores/tiered/replication-queue.js';
import { temporaryDirectory } from '../fixture.js';

const listed = (queue: ReplicationQueue): string[] =>
  [...queue.values()].map(({ operation, key }) => `${operation} ${key}`);

test('tasks are there again, in their order, one for each key', async (t) => {
  const directory = await temporaryDirectory(t);
  const queue = await ReplicationQueue.open(directory, 100);
  await queue.add('put', 'a');
  await queue.add('put', 'b/ä "');
  await queue.add('put', 'c');
  await queue.add('delete', 'a');
  t.deepEqual(listed(queue), ['put b/ä "', 'put c', 'delete a']);
  t.deepEqual(listed(await ReplicationQueue.open(directory, 100)), listed(queue));
  const [first] = queue.values();
  if (first !== undefined) await queue.remove(first);
  t.deepEqual(listed(await ReplicationQueue.open(directory, 100)), ['put c', 'delete a']);
});

test('what is done is forgotten only if nothing newer has come for its key', async (t) => {
  const directory = await temporaryDirectory(t);
  const queue = await ReplicationQueue.open(directory, 100);
  await queue.add('put', 'a');
  const task = queue.get('a');
  await queue.add('put', 'a');
  if (task !== undefined) await queue.remove(task);
  t.deepEqual(listed(queue), ['put a']);
  t.deepEqual(listed(await ReplicationQueue.open(directory, 100)), ['put a']);
});

test('many at the same time', async (t) => {
  const directory = await temporaryDirectory(t);
  const queue = await ReplicationQueue.open(directory, 1000);
  const keys = Array.from({ length: 200 }, (_, index) => `key-${index % 50}`);
  await Promise.all(keys.map((key) => queue.add('put', key)));
  t.is(queue.size, 50);
  t.is((await readdir(directory)).length, 50);
});

test('what has waited longest is given up when there are too many, also of those found at the beginning', async (t) => {
  const directory = await temporaryDirectory(t);
  const queue = await ReplicationQueue.open(directory, 5);
  for (const key of 'abcdefg') await queue.add('put', key);
  t.deepEqual(listed(queue), ['put c', 'put d', 'put e', 'put f', 'put g']);
  const smaller = await ReplicationQueue.open(directory, 2);
  t.deepEqual(listed(smaller), ['put f', 'put g']);
  t.is(smaller.dropped, 3);
  t.is((await readdir(directory)).length, 2);
});

test('what is no task is left alone', async (t) => {
  const directory = await temporaryDirectory(t);
  const queue = await ReplicationQueue.open(directory, 5);
  await queue.add('put', 'a');
  // Torn by a crash, of somebody else, and of a kind that is not known.
  await writeFile(`${directory}/1-x.json.new`, '{"oper');
  await writeFile(`${directory}/1-y.json`, '{"oper');
  await writeFile(`${directory}/1-z.json`, '{"operation":"rename","key":"a"}');
  t.deepEqual(listed(await ReplicationQueue.open(directory, 5)), ['put a']);
  t.is((await readdir(directory)).length, 4);
  const anHourAgo = new Date(Date.now() - 61 * 60 * 1000);
  await utimes(`${directory}/1-x.json.new`, anHourAgo, anHourAgo);
  await ReplicationQueue.open(directory, 5);
  t.false((await readdir(directory)).includes('1-x.json.new'), 'what a process that was killed has left');
});
