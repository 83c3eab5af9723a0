import { open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { clusterStats } from '../../../src/cluster/cluster-stats.js';
import { type SharedStoreOptions, sharedStore } from '../../../src/stores/shared/store.js';
import { content, corruptEvents, put, temporaryDirectory, until } from '../fixture.js';
import { share } from './fixture.js';
import { SharingProcess } from './process.js';
import { readShared } from './read.js';

const BYTES = content(64 * 1024);
const METADATA = { metadata: { contentType: 'text/plain' } };

/** Options of each kind of store, and how its only artifact is corrupted. */
const KINDS: readonly (readonly [SharedStoreOptions, (dir: string) => Promise<void>])[] = [
  [{ kind: 'segments', verifyReads: true }, corruptSegment],
  [{ kind: 'directory' }, corruptMetadata],
];

async function corruptSegment(dir: string): Promise<void> {
  const [name = ''] = await readdir(join(dir, 'segments'));
  const path = join(dir, 'segments', name);
  const position = (await readFile(path)).indexOf(BYTES.subarray(0, 1000));
  const segment = await open(path, 'r+');
  await segment.write(Buffer.alloc(10, 'x'), 0, 10, position + 100);
  await segment.close();
}

async function corruptMetadata(dir: string): Promise<void> {
  const parent = join(dir, '.hotblob/metadata');
  const files = (await readdir(parent, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  for (const { name, parentPath } of files) await writeFile(join(parentPath, name), 'nonsense');
}

for (const [options, corrupt] of KINDS) {
  const { kind } = options;

  test(`${kind}: a corrupt artifact that readers find is removed by the writer, and reported once`, async (t) => {
    const dir = await temporaryDirectory(t);
    const writer = await sharedStore(dir, options);
    t.teardown(() => writer.close());
    t.true(writer.isWriter);
    const events = corruptEvents(t, writer.root);
    await put(writer, 'key', BYTES, METADATA);
    await corrupt(dir);
    const readers = [await SharingProcess.start(t, dir, options), await SharingProcess.start(t, dir, options)];
    for (let round = 0; round < 3; round++) {
      const found = await Promise.all(readers.map((reader) => reader.find('key')));
      t.deepEqual(found, [undefined, undefined]);
    }
    await until(() => writer.stats().corrupt === 1);
    await until(async () => {
      for await (const _ of writer.list()) return false;
      return true;
    });
    const [first, second] = readers;
    t.deepEqual([(await first?.stats())?.corrupt, (await second?.stats())?.corrupt], [0, 0]);
    t.like(await first?.put('key', BYTES, { ...METADATA, ifAbsent: true }), { created: true });
    t.is((await second?.find('key'))?.contentType, 'text/plain');
    t.deepEqual(await readShared(writer, 'key'), BYTES);
    t.is(events.length, 1);
    t.is(writer.stats().corrupt, 1);
  });

  // The process waits ten seconds for a writer that does not respond, so this is tested with one kind of store.
  if (kind === 'directory') continue;

  test.serial(`${kind}: a corrupt artifact that is found while there is no writer is counted`, async (t) => {
    t.timeout(120_000);
    const { dir, writer, store } = await share(t, options);
    const events = corruptEvents(t, store.root);
    await put(store, 'key', BYTES, METADATA);
    await corrupt(dir);
    writer.child.kill('SIGSTOP'); // it does not respond within 10 s
    t.is(await store.get('key'), undefined);
    t.is(await store.get('key'), undefined);
    await until(() => store.stats().corrupt === 1);
    await writer.kill();
    await until(() => store.isWriter);
    t.is(store.stats().corrupt, 1);
    t.is(events.length, 1);
    const { stores } = clusterStats({ stores: { [kind]: store } });
    t.is((await stores[kind]?.stats())?.corrupt, 1);
    t.is(await store.get('key'), undefined);
    t.is(store.stats().corrupt, 2); // found by the store of the writer, which removes it
    await until(async () => !(await store.delete('key')));
  });
}
