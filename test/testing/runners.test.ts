import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { storeConformance } from '../../src/testing/index.js';
import { PlainStore } from './plain-stores.js';

const PROGRAM = fileURLToPath(new URL('./node-test-program.ts', import.meta.url));

/** Runs the suite under node:test and returns the titles of its tests. */
async function nodeTest(t: ExecutionContext, store: string) {
  const program = ['--import=tsx', '--test-reporter=tap', PROGRAM, store];
  const child = spawn(process.execPath, program, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const [output, [status]] = await Promise.all([text(child.stdout), once(child, 'close')]);
  const titles = (prefix: string) =>
    [...output.matchAll(new RegExp(`^${prefix} \\d+ - store: (.*)$`, 'gm'))].map(([, title = '']) => title);
  return { status, passed: titles('ok'), failed: titles('not ok') };
}

test('node:test runs every check and passes', async (t) => {
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

test('node:test reports the check that fails', async (t) => {
  const { status, failed } = await nodeTest(t, 'reports every key as new');
  t.is(status, 1);
  t.deepEqual(failed, ['put() reports whether the key is new']);
});

test('calls pass() of the test context once if a check passes, and never if it fails', async (t) => {
  const bodies = new Map<string, (...context: readonly unknown[]) => Promise<void>>();
  const register = (title: string, body: (...context: readonly unknown[]) => Promise<void>) => bodies.set(title, body);
  storeConformance({ name: 'good', test: register, createStore: () => new PlainStore() });
  storeConformance({
    name: 'bad',
    test: register,
    createStore: () => {
      throw new Error('createStore failed');
    },
  });
  let count = 0;
  const context = { pass: () => count++ };
  await bodies.get('good: an empty artifact is not a miss')?.(context);
  t.is(count, 1);
  await bodies.get('good: an empty artifact is not a miss')?.();
  await bodies.get('good: an empty artifact is not a miss')?.({ name: 'a context without pass()' });
  t.is(count, 1);
  await t.throwsAsync(async () => bodies.get('bad: an empty artifact is not a miss')?.(context), {
    message: 'createStore failed',
  });
  t.is(count, 1);
});
