// Program of faults.test.ts: `full-disk-child.ts dir`. Deletes artifacts of a store whose file system another program has filled
// completely. Writes its observations to stdout as one line of JSON.
import { open, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { segmentStore } from '../../../src/stores/segments/store.js';
import { content, put } from '../fixture.js';

const [dir = ''] = process.argv.slice(2);

/** Uses all free space of the file system. */
async function fillRest(): Promise<void> {
  const file = await open(join(dir, 'ballast'), 'a');
  for (const size of [65_536, 4096, 1]) while ((await file.write(content(size)).catch(() => undefined)) !== undefined);
  await file.close();
}

async function freeBytes(): Promise<number> {
  const { bavail, bsize } = await statfs(dir);
  return bavail * bsize;
}

const storeDir = join(dir, 'store');
let store = await segmentStore(storeDir, { segmentBytes: 2_000_000 });
await put(store, 'large', content(1_500_000));
for (let index = 0; index < 200; index++) await put(store, `small/${index}`, content(20_000, index));
await fillRest();
const freeWhenFull = await freeBytes();
const uploadWhenFull = await put(store, 'refused', content(20_000)).catch((error: unknown) => Object(error).code);
await store.close();
// A store on a full file system can be opened for writing.
store = await segmentStore(storeDir, { segmentBytes: 2_000_000 });
const isLargeDeleted = await store.delete('large');
await put(store, 'new/large', content(1_000_000));
await fillRest();
const areSmallDeleted: boolean[] = [];
for (let index = 0; index < 10; index++) areSmallDeleted.push(await store.delete(`small/${index}`));
// The dead bytes are in a segment with other artifacts.
await put(store, 'new/small', content(20_000));
const stored = ['new/large', 'new/small', 'small/0', 'large'].filter((key) => store.get(key) !== undefined);
const { artifacts = 0 } = store.stats();
await store.close();
process.stdout.write(
  JSON.stringify({ freeWhenFull, uploadWhenFull, isLargeDeleted, areSmallDeleted, stored, artifacts }),
);
