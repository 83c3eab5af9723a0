import { copyFile, mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { detectKind } from '../../src/cli/serve/open-store.js';
import { type DirectoryStore, directoryStore } from '../../src/stores/directory/store.js';
import { segmentStore } from '../../src/stores/segments/store.js';
import { verifySegments } from '../../src/stores/segments/verify.js';
import { content, put, refusal, temporaryDirectory, until } from './fixture.js';
import { assertBody } from './segments/fixture.js';

const refused = (message: RegExp) => refusal('ERR_HOTBLOB_INVALID_OPTION', message);

/** Returns the directory of a closed segment store with an artifact under `key`. */
async function withSegments(t: ExecutionContext): Promise<string> {
  const dir = join(await temporaryDirectory(t), 'store');
  const store = await segmentStore(dir);
  await put(store, 'key', content(100_000));
  await store.close();
  return dir;
}

test('segments without their index are refused by every store, and keep their bytes', async (t) => {
  const dir = await withSegments(t);
  const index = join(dir, 'index.mdb');
  const backup = `${index}.backup`;
  await rename(index, backup);
  const before = await readdir(dir, { recursive: true });
  const error = refused(
    /received segments without 'index\.mdb', or with an empty one, at .*; restore 'index\.mdb' from a backup, or delete/,
  );
  for (const readOnly of [false, true]) {
    await t.throwsAsync(directoryStore(dir, { readOnly }), error);
    await t.throwsAsync(segmentStore(dir, { readOnly }), error);
  }
  await t.throwsAsync(verifySegments(dir).next(), error);
  t.deepEqual(await readdir(dir, { recursive: true }), before);
  t.is(await detectKind(dir, undefined), 'directory');
  for (const name of ['index.mdb-lock', 'index.mdb.backup']) await rename(join(dir, name), join(dir, '..', name));
  await t.throwsAsync(segmentStore(dir), error);
  await copyFile(join(dir, '..', 'index.mdb.backup'), index);
  const restored = await segmentStore(dir);
  await assertBody(t, restored, 'key', content(100_000));
  await restored.close();
});

test('a directory store is not opened in a segment store or in its directory of segments', async (t) => {
  const dir = await withSegments(t);
  for (const readOnly of [false, true]) {
    await t.throwsAsync(
      directoryStore(dir, { readOnly }),
      refused(/received a segment store at .*; open it with segment/),
    );
    const inside = directoryStore(join(dir, 'segments'), { readOnly });
    await t.throwsAsync(inside, refused(/received the segments of a segment store at .*; open the directory above it/));
  }
  const empty = join(await temporaryDirectory(t), 'store');
  await (await segmentStore(empty)).close();
  await t.throwsAsync(directoryStore(empty), refused(/received a segment store/));
});

test('a segment store is not opened in a directory store, whatever its keys are', async (t) => {
  const dir = join(await temporaryDirectory(t), 'store');
  const store = await directoryStore(dir);
  for (const key of ['a', 'segments/a', 'unsynced', 'format', 'writer-1']) await put(store, key, 'x');
  await store.close();
  await t.throwsAsync(segmentStore(dir), refused(/received a directory store at .*; open it with directoryStore/));
  const own = await temporaryDirectory(t);
  await mkdir(join(own, 'segments'));
  await writeFile(join(own, 'a'), 'x');
  await t.throwsAsync(segmentStore(own), refused(/received 'a'/));
});

test('an upload cannot make a directory look like a segment store', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(dir);
  for (const key of ['index.mdb', 'INDEX.MDB', 'index.mdb/x', 'segments/0000000001.segment', 'lost+found/x']) {
    await t.throwsAsync(put(store, key, 'x'), refusal('ERR_HOTBLOB_INVALID_KEY', /are reserved$/), key);
  }
  for (const key of ['segments/1.segment', 'a/index.mdb', 'index.mdb2', 'a/lost+found/x']) await put(store, key, 'x');
  await store.close();
  t.is(await detectKind(dir, undefined), 'directory');
  await (await directoryStore(dir)).close();
});

test('an empty index beside segments is refused like a missing one, and nothing is removed', async (t) => {
  const dir = await withSegments(t);
  const names = await readdir(join(dir, 'segments'));
  await writeFile(join(dir, 'index.mdb'), '');
  const message =
    /received segments without 'index\.mdb', or with an empty one, at .*; restore 'index\.mdb' from a backup/;
  await t.throwsAsync(segmentStore(dir), refused(message));
  await t.throwsAsync(segmentStore(dir, { readOnly: true }), refused(message));
  await t.throwsAsync(directoryStore(dir), refused(message));
  t.deepEqual(await readdir(join(dir, 'segments')), names);
});

test('a segment store that lost its index in a crash, with durability none, is detected and emptied', async (t) => {
  const dir = await withSegments(t);
  await writeFile(join(dir, 'unsynced'), 'another boot');
  await rm(join(dir, 'index.mdb'));
  t.is(await detectKind(dir, undefined), 'segments');
  const store = await segmentStore(dir);
  t.is(store.stats().artifacts, 0);
  await store.close();
});

test('a store that a later version has written is refused', async (t) => {
  const message = /expected a store of format 1, received one that was written by format 12 at .*; upgrade hotblob/;
  const segments = await withSegments(t);
  t.is(await readFile(join(segments, 'format'), 'utf8'), 'format 1\n');
  await writeFile(join(segments, 'format'), 'format 12\n');
  await t.throwsAsync(segmentStore(segments), refused(message));
  await t.throwsAsync(segmentStore(segments, { readOnly: true }), refused(message));
  await t.throwsAsync(verifySegments(segments).next(), refused(message));
  await rm(join(segments, 'format'));
  const older = await segmentStore(segments);
  await assertBody(t, older, 'key', content(100_000));
  await older.close();

  const directory = join(await temporaryDirectory(t), 'store');
  await (await directoryStore(directory)).close();
  const marker = join(directory, '.hotblob/immutable');
  t.regex(await readFile(marker, 'utf8'), /\nformat 1\n$/);
  await (await directoryStore(directory)).close();
  await writeFile(marker, 'created by a later version\nformat 12\n');
  await t.throwsAsync(directoryStore(directory), refused(message));
  await t.throwsAsync(directoryStore(directory, { readOnly: true }), refused(message));
  await writeFile(marker, 'created by an earlier version\n');
  t.true((await directoryStore(directory)).immutable);
});

test('lost+found of a fresh volume is not an artifact, and not a file of another program', async (t) => {
  const volume = async (): Promise<string> => {
    const dir = await temporaryDirectory(t);
    await mkdir(join(dir, 'lost+found'));
    await writeFile(join(dir, 'lost+found', '#12'), content(10_000));
    await utimes(join(dir, 'lost+found', '#12'), 1, 1);
    return dir;
  };
  const empty = await volume();
  t.is(await detectKind(empty, undefined), 'segments');
  await (await segmentStore(empty)).close();
  t.is(await detectKind(empty, undefined), 'segments');

  const dir = await volume();
  const store: DirectoryStore = await directoryStore(dir, { maxBytes: 100_000 });
  await until(() => store.stats().artifacts !== undefined);
  t.is(store.stats().artifacts, 0);
  t.throws(() => store.get('lost+found/#12'), refusal('ERR_HOTBLOB_INVALID_KEY'));
  t.false(await store.delete('a'));
  for (const key of ['a', 'b', 'c', 'd']) await put(store, key, content(40_000));
  const listed: string[] = [];
  for await (const { key } of store.list()) listed.push(key);
  t.false(listed.includes('lost+found/#12'));
  t.true(listed.length < 4, 'something was evicted');
  await store.close();
  t.deepEqual(await readdir(join(dir, 'lost+found')), ['#12']);
});
