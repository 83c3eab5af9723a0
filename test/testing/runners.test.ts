import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { storeConformance } from '../../src/testing/index.js';
import { PlainStore } from './plain-stores.js';

const PROGRAM = fileURLToPath(new URL('./node-test-program.ts', import.meta.url));

/** Runs the suite under node:test. */
async function nodeTest(t: ExecutionContext, store: string) {
  const program = ['--import=tsx', '--test-reporter=tap', PROGRAM, store];
  const child = spawn(process.execPath, program, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const [output, [status]] = await Promise.all([text(child.stdout), once(child, 'close')]);
  const titles = (prefix: string) =>
    [...output.matchAll(new RegExp(`^${prefix} \\d+ - store: (.*)$`, 'gm'))].map(([, title = '']) => title);
  return { status, passed: titles('ok'), failed: titles('not ok') };
}

test('node:test runs every check, and passes', async (t) => {
  const registered: string[] = [];
  storeConformance({ test: (title) => registered.push(title), createStore: () => new PlainStore() });
  const { status, passed, failed } = await nodeTest(t, 'none');
  t.is(status, 0);
  t.deepEqual(failed, []);
  t.deepEqual(
    passed,
    registered.map((title) => title.replace('store: ', '')),
  );
});

test('node:test fails with the check that a store fails', async (t) => {
  const { status, failed } = await nodeTest(t, 'takes every key for free');
  t.is(status, 1);
  t.deepEqual(failed, ['an upload says whether its key was free']);
});

test('a context that counts assertions gets one of each check that passes, and none of those that fail', async (t) => {
  const bodies = new Map<string, (...context: readonly unknown[]) => Promise<void>>();
  const register = (title: string, body: (...context: readonly unknown[]) => Promise<void>) => bodies.set(title, body);
  storeConformance({ name: 'good', test: register, createStore: () => new PlainStore() });
  storeConformance({
    name: 'bad',
    test: register,
    createStore: () => {
      throw new Error('no store today');
    },
  });
  let count = 0;
  const context = { pass: () => count++ };
  await bodies.get('good: an empty artifact is one, and no miss')?.(context);
  t.is(count, 1);
  await bodies.get('good: an empty artifact is one, and no miss')?.();
  await bodies.get('good: an empty artifact is one, and no miss')?.({ name: 'a context without pass()' });
  t.is(count, 1);
  await t.throwsAsync(async () => bodies.get('bad: an empty artifact is one, and no miss')?.(context), {
    message: 'no store today',
  });
  t.is(count, 1);
});
