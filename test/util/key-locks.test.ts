import test from 'ava';
import { KeyLocks } from '../../src/util/key-locks.js';

test('runs tasks with the same key one at a time, in order', async (t) => {
  const locks = new KeyLocks();
  const events: string[] = [];
  const task = (name: string) => async () => {
    events.push(`${name} starts`);
    await new Promise((resolve) => setImmediate(resolve));
    events.push(`${name} ends`);
    return name;
  };
  t.deepEqual(await Promise.all([locks.run('key', task('a')), locks.run('key', task('b'))]), ['a', 'b']);
  t.deepEqual(events, ['a starts', 'a ends', 'b starts', 'b ends']);
});

test('runs tasks with different keys concurrently', async (t) => {
  const locks = new KeyLocks();
  let release = (): void => {};
  const first = locks.run('a', () => new Promise<void>((resolve) => (release = resolve)));
  t.is(await locks.run('b', async () => 'done'), 'done');
  release();
  await first;
});

test('a rejected task does not block the next one', async (t) => {
  const locks = new KeyLocks();
  const failure = new Error('task failed');
  const first = locks.run('key', () => Promise.reject(failure));
  const second = locks.run('key', async () => 'done');
  await t.throwsAsync(first, { is: failure });
  t.is(await second, 'done');
});
