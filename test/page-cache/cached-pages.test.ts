import { execFile, execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync, statSync, symlinkSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { type BindingChoice, type Bindings, loadBindings } from '../../src/page-cache/bindings.js';
import {
  cachedPages,
  createPageCacheInspector,
  type PageCacheInspector,
  pageMap,
} from '../../src/page-cache/cached-pages.js';
import { loadLibc } from '../../src/page-cache/libc.js';
import { GIB, MIB, pattern, temporaryDirectory, writePattern } from '../helpers/files.js';
import { descriptorsBelow, evict, lockInPageCache } from '../helpers/page-cache.js';

const NOBODY = 65534;
const PIECE = MIB / 4;

function load(choice: BindingChoice): Bindings {
  const bindings = loadBindings(choice);
  if (choice.libc !== false && bindings.libc === undefined) throw new Error('koffi does not load');
  if (choice.mmapIo !== false && bindings.mapper === undefined) throw new Error('mmap-io does not load');
  return bindings;
}

/** Loads koffi without cachestat(2), as on Linux before 6.5 or in a sandbox. */
function withoutCachestat(): Bindings {
  const bindings = load({ mmapIo: false });
  const libc = bindings.libc && { ...bindings.libc, countCached: () => -1 };
  return { ...bindings, libc };
}

const INSPECTORS: Record<string, () => PageCacheInspector> = {
  default: () => ({ cachedPages, pageMap }),
  koffi: () => createPageCacheInspector(load({ mmapIo: false })),
  'koffi without cachestat': () => createPageCacheInspector(withoutCachestat()),
  'mmap-io': () => createPageCacheInspector(load({ libc: false })),
};

/** Start and end of a part of a file. */
type Part = readonly [number, number];

/**
 * Writes the given parts of a file of `size` bytes, and leaves the rest a hole. Locks the parts in the page cache, because the
 * kernel may reclaim other pages at any time. Returns a function that unlocks the part with an index.
 */
function writeLocked(t: ExecutionContext, path: string, size: number, parts: readonly Part[]): (index: number) => void {
  const fd = openSync(path, 'w');
  ftruncateSync(fd, size);
  for (const [start, end] of parts) {
    // In pieces that can be evicted separately. The kernel may cache a single write as one large folio.
    for (let at = start; at < end; at += PIECE) {
      const piece = pattern(Math.min(PIECE, end - at), 1, at);
      writeSync(fd, piece, 0, piece.byteLength, at);
    }
  }
  closeSync(fd);
  const unlocks = new Map(parts.map(([start, end], index) => [index, lockInPageCache(path, start, end)]));
  const unlock = (index: number): void => {
    unlocks.get(index)?.();
    unlocks.delete(index);
  };
  t.teardown(() => {
    for (const index of unlocks.keys()) unlock(index);
  });
  return unlock;
}

/** Formats a page map as run lengths: `5+` for five resident pages, `5-` for five that are not. */
function runs(pages: Uint8Array | undefined): string {
  const text = Array.from(pages ?? [], (page) => (page === 1 ? '+' : page === 0 ? '-' : '?')).join('');
  return text.replace(/(.)\1*/g, (run) => `${run.length}${run[0]}`);
}

for (const [name, create] of Object.entries(INSPECTORS)) {
  // Serial, because unprivileged users may lock 8 MiB in total.
  test.serial(`${name}: reports which pages are resident, and reads none of them`, async (t) => {
    const inspector = create();
    const directory = await temporaryDirectory(t);
    const path = join(directory, 'artifact');
    // Larger than a step of each inspector, with a partial last page.
    const size = 40 * MIB + 100;
    const unlock = writeLocked(t, path, size, [
      [0, MIB],
      [MIB, 2 * MIB],
      [34 * MIB, 35 * MIB + PIECE],
      [35 * MIB + PIECE, 36 * MIB],
      [40 * MIB, size],
    ]);
    evict(path, 2 * MIB, 34 * MIB);
    evict(path, 36 * MIB, 40 * MIB);
    const { pageBytes } = (await inspector.cachedPages(path)) ?? t.fail();
    const mib = MIB / pageBytes;
    const piece = PIECE / pageBytes;
    const all = 40 * mib + 1;
    const assertResident = async (expected: string, resident: number) => {
      t.is(runs(await inspector.pageMap(path)), expected);
      t.deepEqual(await inspector.cachedPages(path), { pages: all, resident, pageBytes });
    };
    await assertResident(`${2 * mib}+${32 * mib}-${2 * mib}+${4 * mib}-1+`, 4 * mib + 1);
    unlock(1);
    evict(path, MIB, 2 * MIB);
    unlock(3);
    evict(path, 35 * MIB + PIECE, 36 * MIB);
    await assertResident(`${mib}+${33 * mib}-${mib + piece}+${5 * mib - piece}-1+`, 2 * mib + piece + 1);
    for (const index of [0, 2, 4]) unlock(index);
    evict(path);
    await assertResident(`${all}-`, 0);
    // The inspection has not read the file.
    await assertResident(`${all}-`, 0);
    t.deepEqual(descriptorsBelow(directory), []);
  });

  test.serial(`${name}: a region extends from the page of its first byte to the page of its last byte`, async (t) => {
    const inspector = create();
    const directory = await temporaryDirectory(t);
    const path = join(directory, 'artifact');
    writeLocked(t, path, MIB + 1, [[0, MIB + 1]]);
    const { pageBytes } = (await inspector.cachedPages(path)) ?? t.fail();
    const inspect = async (offset?: number, length?: number) => {
      const counted = await inspector.cachedPages(path, offset, length);
      const mapped = await inspector.pageMap(path, offset, length);
      t.is(counted?.pages, mapped?.byteLength);
      t.is(counted?.resident, mapped?.filter((page) => page === 1).byteLength);
      return counted?.pages;
    };
    t.is(await inspect(0, 1), 1);
    t.is(await inspect(pageBytes - 1, 1), 1);
    t.is(await inspect(pageBytes - 1, 2), 2);
    t.is(await inspect(pageBytes, pageBytes), 1);
    t.is(await inspect(pageBytes + 1, pageBytes), 2);
    t.is(await inspect(MIB), 1);
    t.is(await inspect(MIB / 2, 10 * GIB), MIB / 2 / pageBytes + 1, 'up to the end of the file');
    t.is(await inspect(MIB + 1), 1, 'the page that contains the end of the file');
    t.is(await inspect(GIB, 10), 0);
    t.is(await inspect(0, 0), 0);
    truncateSync(path, 0);
    t.is(await inspect(), 0);
  });
}

test('returns undefined for a path that is not a regular file, and rejects if the file cannot be opened', async (t) => {
  const directory = await temporaryDirectory(t);
  execFileSync('mkfifo', [join(directory, 'fifo')]);
  symlinkSync('loop', join(directory, 'loop'));
  writeLocked(t, join(directory, 'artifact'), 10_000, [[0, 10_000]]);
  symlinkSync('artifact', join(directory, 'link'));
  for (const path of [directory, join(directory, 'fifo'), '/dev/null']) {
    t.is(await cachedPages(path), undefined, path);
    t.is(await pageMap(path), undefined, path);
  }
  for (const inspect of [cachedPages, pageMap]) {
    await t.throwsAsync(inspect(join(directory, 'none')), { code: 'ENOENT' });
    await t.throwsAsync(inspect(join(directory, 'artifact', 'below')), { code: 'ENOTDIR' });
    await t.throwsAsync(inspect(join(directory, 'loop')), { code: 'ELOOP' });
    await t.throwsAsync(inspect(join(directory, 'artifact'), -1), {
      instanceOf: RangeError,
      message: /^offset: .*-1$/,
    });
    await t.throwsAsync(inspect(join(directory, 'artifact'), 0, 0.5), { instanceOf: RangeError, message: /^length: / });
  }
  t.is((await cachedPages(join(directory, 'link')))?.resident, (await cachedPages(join(directory, 'artifact')))?.pages);
  t.deepEqual(descriptorsBelow(directory), []);
});

test('returns undefined without a binding', async (t) => {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'artifact', 10_000, 1);
  const inspector = createPageCacheInspector(loadBindings({ mmapIo: false, libc: false }));
  t.is(await inspector.cachedPages(join(directory, 'artifact')), undefined);
  t.is(await inspector.pageMap(join(directory, 'artifact')), undefined);
});

test('a page map is limited to 4 GiB, and each step runs in its own iteration of the event loop', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'sparse');
  const fd = openSync(path, 'w');
  ftruncateSync(fd, 5 * GIB);
  closeSync(fd);
  const { inspector, steps, end } = recordIterations();
  t.teardown(end);
  const pages = (await inspector.pageMap(path)) ?? t.fail();
  t.is(runs(pages), `${pages.byteLength}-`);
  const counted = (await inspector.cachedPages(path)) ?? t.fail();
  t.is(pages.byteLength * counted.pageBytes, 4 * GIB);
  t.is(counted.pages * counted.pageBytes, 5 * GIB);
  t.is((await inspector.pageMap(path, 3 * GIB))?.byteLength, (2 * GIB) / counted.pageBytes);
  t.true(steps.length > 300, `${steps.length} steps`);
  t.deepEqual(
    steps.filter((iteration, index) => iteration === steps[index + 1]),
    [],
  );
});

/** Creates an inspector that records in which iteration of the event loop each step ran. */
function recordIterations(): {
  readonly inspector: PageCacheInspector;
  readonly steps: number[];
  readonly end: () => void;
} {
  const bindings = load({ mmapIo: false });
  const { libc } = bindings;
  if (libc === undefined) throw new Error('koffi does not load');
  const steps: number[] = [];
  let iteration = 0;
  let immediate = setImmediate(function next() {
    iteration++;
    immediate = setImmediate(next);
  });
  const recorded = {
    ...libc,
    countCached: (...step: Parameters<typeof libc.countCached>) => {
      steps.push(iteration);
      return libc.countCached(...step);
    },
    mapResident: (...step: Parameters<typeof libc.mapResident>) => {
      steps.push(iteration);
      return libc.mapResident(...step);
    },
  };
  return {
    inspector: createPageCacheInspector({ ...bindings, libc: recorded }),
    steps,
    end: () => clearImmediate(immediate),
  };
}

// /etc/passwd belongs to root, and all users may read it.
test.serial('mincore is not trusted for files of other users', async (t) => {
  t.teardown(lockInPageCache('/etc/passwd', 0, statSync('/etc/passwd').size));
  const inspect = async (): Promise<unknown[]> => [
    await createPageCacheInspector(withoutCachestat()).cachedPages('/etc/passwd'),
    await createPageCacheInspector(load({ libc: false })).cachedPages('/etc/passwd'),
    await pageMap('/etc/passwd'),
  ];
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(NOBODY);
  try {
    t.deepEqual(await inspect(), [undefined, undefined, undefined]);
    // cachestat either reports the pages or fails; it never reports wrong ones.
    const counted = await cachedPages('/etc/passwd');
    t.true(counted === undefined || (counted.resident === counted.pages && counted.pages > 0));
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
});

test('finds the pages of overlay files, which belong to the lower file system', async (t) => {
  const directory = await temporaryDirectory(t);
  for (const name of ['lower', 'other', 'merged']) mkdirSync(join(directory, name));
  writePattern(join(directory, 'lower'), 'artifact', MIB, 1);
  const namespaces = process.geteuid?.() === 0 ? '-m' : '-rm';
  const script =
    'cd "$1" && mount -t overlay overlay -o lowerdir=lower:other merged && cd "$2" && exec "$3" --import tsx "$4" "$1/merged/artifact" "$1/lower/artifact"';
  const child = join(import.meta.dirname, 'overlay-child.ts');
  const args = ['sh', '-c', script, 'sh', directory, process.cwd(), process.execPath, child];
  const { stdout } = await promisify(execFile)('unshare', [namespaces, ...args]);
  const pageBytes = loadLibc()?.pageSize ?? 0;
  const pages = MIB / pageBytes;
  t.deepEqual(JSON.parse(stdout), [
    { pages, resident: pages, pageBytes },
    { pages, resident: 0, pageBytes },
  ]);
});
