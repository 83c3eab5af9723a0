import { readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import test from 'ava';
import { contentOf } from '../../../src/stores/tiered/content.js';
import { never, temporaryDirectory } from '../fixture.js';

test('a symbolic link that changes while it is opened does not lead out of the root', async (t) => {
  const directory = await temporaryDirectory(t);
  const root = join(directory, 'root');
  await mkdir(root);
  writeFileSync(join(root, 'inside'), 'inside');
  writeFileSync(join(directory, 'outside'), 'outside');
  const path = join(root, 'link');
  const pointTo = (target: string): void => {
    symlinkSync(target, `${path}.new`);
    renameSync(`${path}.new`, path);
  };
  const bodies = new Set<string>();
  let isOver = false;
  const change = (): void => {
    pointTo(readFileSync(path, 'utf8') === 'inside' ? '../outside' : 'inside');
    if (!isOver) setImmediate(change);
  };
  pointTo('inside');
  change();
  for (let round = 0; round < 500; round++) {
    const content = await contentOf({ kind: 'file', path, root });
    const body = await content?.open(undefined, never()).then(buffer, () => undefined);
    if (body !== undefined) bodies.add(body.toString());
  }
  isOver = true;
  t.deepEqual([...bodies], ['inside']);
});
