import { chown, readdir } from 'node:fs/promises';
import test from 'ava';
import { openForPurging } from '../../src/cli/existing-store.js';
import { segmentStore } from '../../src/stores/segments/store.js';
import { testWith } from '../helpers/peers.js';
import { content, put, temporaryDirectory } from '../stores/fixture.js';

const OPTIONS = { maxBytes: 80_000_000, retain: [{ scope: 'pr/*', maxBytes: 20_000_000 }] };
const key = (index: number): string => `.scopes/pr%2f${index % 2}/nx/${index}`;

test('purging the directory of a segment store moves no artifact, so that the rules of its server still hold', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir, OPTIONS);
  for (let index = 0; index < 60; index++) await put(store, key(index), content(100_000, index));
  await store.close();
  const before = await readdir(`${dir}/segments`);

  const opened = await openForPurging(dir);
  t.is((await opened.purge({ scope: 'pr/1' })).artifacts, 30);
  await opened.close();
  t.deepEqual(
    (await readdir(`${dir}/segments`)).filter((name) => !before.includes(name)),
    [],
  );

  const again = await segmentStore(dir, OPTIONS);
  t.teardown(() => again.close());
  // More than the store can hold beside the artifacts of the rule.
  for (let index = 0; index < 80; index++) await put(again, `nx/${index}`, content(1_500_000, index));
  const kept: string[] = [];
  for await (const entry of again.list()) if (entry.key.startsWith('.scopes/')) kept.push(entry.key);
  t.is(kept.length, 30);
});

testWith(test, 'root')('refuses the directory of another user', async (t) => {
  const dir = await temporaryDirectory(t);
  await (await segmentStore(dir)).close();
  await chown(dir, 65_534, 65_534);
  await t.throwsAsync(openForPurging(dir), { message: /expected the user who owns the directory \(uid 65534\)/ });
});
