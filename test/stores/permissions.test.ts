import { lstat, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import { ModuleUploads } from '../../src/protocols/tuist/module-uploads.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { segmentStore } from '../../src/stores/segments/store.js';
import { tieredStore } from '../../src/stores/tiered/store.js';
import { testWith } from '../helpers/peers.js';
import { content, put, temporaryDirectory } from './fixture.js';
import { onReadOnlyMount } from './read-only-mount.js';

const metadata = { headers: { 'x-artifact-description': 'x' } };

/** What creates files, in `dir`. Resolves to a function that closes it. */
const WRITERS: Readonly<Record<string, (dir: string, groupAccess: boolean) => Promise<() => Promise<unknown>>>> = {
  async directory(dir, groupAccess) {
    const store = await directoryStore(dir, { groupAccess });
    await put(store, 'a/b/c', content(1000), { metadata });
    await put(store, 'd', content(1000), { ifAbsent: true });
    return () => store.close();
  },
  async segments(dir, groupAccess) {
    const store = await segmentStore(dir, { groupAccess, durability: 'none' });
    await put(store, 'small', content(10), { metadata });
    await put(store, 'large', content(600_000));
    const reader = await segmentStore(dir, { groupAccess, readOnly: true });
    return async () => {
      await reader.close();
      await store.close();
    };
  },
  async 'parts of modules'(dir, groupAccess) {
    const limits = { ttlMs: 60_000, maxUploads: 4, maxPartsBytes: 1_000_000 };
    const uploads = new ModuleUploads(join(dir, 'parts'), { ...limits, groupAccess });
    const scope = 'default';
    const upload = { view: 'default', scope, project: 'a/b', category: 'c', hash: 'd', name: 'e' };
    const id = await uploads.start(upload);
    await uploads.addPart(id, upload, 1, Readable.from([content(10)]));
    return async () => {};
  },
};

/** These have no option, because only one user accesses them. */
const PRIVATE_WRITERS: typeof WRITERS = {
  async 'replication queue'(dir) {
    const local = await directoryStore(join(dir, 'local'));
    const remote = await directoryStore(join(dir, 'remote'));
    // Fails, so that the task stays in the queue.
    const unreachable = { get: () => undefined, put: async () => Promise.reject(new Error('unreachable')) };
    const store = await tieredStore({ local, remote: unreachable, writes: 'writeBack', queueDir: join(dir, 'queue') });
    await store.put('a', Readable.from([content(10)]));
    return async () => Promise.all([store.close(), local.close(), remote.close()]);
  },
};

// Serial: the umask belongs to the process.
for (const umask of [0o000, 0o022, 0o077]) {
  for (const [kind, write] of Object.entries({ ...WRITERS, ...PRIVATE_WRITERS })) {
    for (const groupAccess of kind in WRITERS ? [false, true] : [false]) {
      const title = `${kind}${groupAccess ? ' with groupAccess' : ''}: modes with umask ${umask.toString(8)}`;
      test.serial(title, async (t) => {
        const parent = await temporaryDirectory(t);
        const previous = process.umask(umask);
        t.teardown(() => process.umask(previous));
        const close = await write(join(parent, 'new', 'store'), groupAccess);
        const modes = await modesBelow(parent);
        process.umask(previous);
        await close();
        const bits = (groupAccess ? 0o777 : 0o700) & ~umask;
        for (const [path, mode] of modes) {
          const expected = path.endsWith('/') ? bits & 0o770 : bits & 0o660;
          t.is(mode.toString(8), expected.toString(8), path);
        }
        t.true(modes.size >= 4);
      });
    }
  }
}

test.serial('the modes of existing directories and files are not changed', async (t) => {
  const dir = await temporaryDirectory(t);
  await mkdir(join(dir, 'sub'), { mode: 0o755 });
  await writeFile(join(dir, 'sub', 'old'), 'x', { mode: 0o644 });
  const before = await modesBelow(dir);
  const store = await directoryStore(dir);
  await put(store, 'sub/new', 'x');
  await store.close();
  const after = await modesBelow(dir);
  for (const [path, mode] of before) t.is(after.get(path), mode, path);
  t.is(after.get('sub/new'), 0o600);
});

/** Returns the modes of everything below a directory. Paths of directories end with a slash. */
async function modesBelow(directory: string): Promise<Map<string, number>> {
  const modes = new Map<string, number>();
  for (const name of await readdir(directory, { recursive: true })) {
    const stats = await lstat(join(directory, name));
    modes.set(stats.isDirectory() ? `${name}/` : name, stats.mode & 0o777);
  }
  return modes;
}

testWith(test, 'mount')(
  'a read-only mount is an error that names the remedy, and can be opened for reading',
  async (t) => {
    for (const [kind, result] of Object.entries(await onReadOnlyMount(t))) {
      t.regex(result.failure, /^ERR_HOTBLOB_INVALID_OPTION: dir: expected a directory .*EROFS.*readOnly: true/, kind);
      t.is(result.canPut, false, kind);
      t.is(result.found, 'file', kind);
    }
  },
);
