import { execFile, execFileSync } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { type BindingChoice, type Bindings, loadBindings } from '../../src/page-cache/bindings.js';
import { cachedPages, type PageCacheView, pageMap, viewPageCache } from '../../src/page-cache/cached-pages.js';
import { loadLibc } from '../../src/page-cache/libc.js';
import { GIB, MIB, pattern, temporaryDirectory, writePattern } from '../helpers/files.js';
import { descriptorsBelow, evict } from '../helpers/page-cache.js';

const NOBODY = 65534;
const PIECE = MIB / 4;

function load(choice: BindingChoice): Bindings {
  const bindings = loadBindings(choice);
  if (choice.libc !== false && bindings.libc === undefined) throw new Error('koffi does not load');
  if (choice.mmapIo !== false && bindings.mapper === undefined) throw new Error('mmap-io does not load');
  return bindings;
}

/** As on a Linux before 6.5, or in a sandbox. */
function withoutCachestat(): Bindings {
  const bindings = load({ mmapIo: false });
  const libc = bindings.libc && { ...bindings.libc, countCached: () => -1 };
  return { ...bindings, libc };
}

const WAYS: Record<string, () => PageCacheView> = {
  'as it comes': () => ({ cachedPages, pageMap }),
  'through koffi': () => viewPageCache(load({ mmapIo: false })),
  'through koffi, by mincore alone': () => viewPageCache(withoutCachestat()),
  'through mmap-io': () => viewPageCache(load({ libc: false })),
};

/** The kernel drops pages as it has taken them: what is written at once may be one piece, of which no part can go. */
function writeInPieces(path: string, size: number): void {
  const fd = openSync(path, 'w');
  for (let at = 0; at < size; at += PIECE) writeSync(fd, pattern(Math.min(PIECE, size - at), 1, at));
  closeSync(fd);
}

/** Page by page, as a text: a run of pages in the page cache as `5+`, else as `5-`. */
function runs(pages: Uint8Array | undefined): string {
  const text = Array.from(pages ?? [], (page) => (page === 1 ? '+' : page === 0 ? '-' : '?')).join('');
  return text.replace(/(.)\1*/g, (run) => `${run.length}${run[0]}`);
}

for (const [name, way] of Object.entries(WAYS)) {
  test(`what is in the page cache is told page by page: ${name}`, async (t) => {
    const view = way();
    const directory = await temporaryDirectory(t);
    const path = join(directory, 'artifact');
    // More than one step of each way, and a last page that is not full.
    writeInPieces(path, 40 * MIB + 100);
    const { pageBytes } = (await view.cachedPages(path)) ?? t.fail();
    const all = 40 * (MIB / pageBytes) + 1;
    const assertSeen = async (expected: string, resident: number) => {
      t.is(runs(await view.pageMap(path)), expected);
      t.deepEqual(await view.cachedPages(path), { pages: all, resident, pageBytes });
    };
    await assertSeen(`${all}+`, all);
    const quarter = PIECE / pageBytes;
    evict(path, MIB, 2 * MIB);
    evict(path, 35 * MIB, 35 * MIB + PIECE);
    await assertSeen(
      `${4 * quarter}+${4 * quarter}-${33 * 4 * quarter}+${quarter}-${all - 141 * quarter}+`,
      all - 5 * quarter,
    );
    evict(path);
    await assertSeen(`${all}-`, 0);
    // Nor has anything been read by looking.
    await assertSeen(`${all}-`, 0);
    t.deepEqual(descriptorsBelow(directory), []);
  });

  test(`a region is told from the page of its first byte to that of its last: ${name}`, async (t) => {
    const view = way();
    const directory = await temporaryDirectory(t);
    const path = join(directory, 'artifact');
    writePattern(directory, 'artifact', MIB + 1, 1);
    const { pageBytes } = (await view.cachedPages(path)) ?? t.fail();
    const see = async (offset?: number, length?: number) => {
      const counted = await view.cachedPages(path, offset, length);
      const mapped = await view.pageMap(path, offset, length);
      t.is(counted?.pages, mapped?.byteLength);
      t.is(counted?.resident, mapped?.filter((page) => page === 1).byteLength);
      return counted?.pages;
    };
    t.is(await see(0, 1), 1);
    t.is(await see(pageBytes - 1, 1), 1);
    t.is(await see(pageBytes - 1, 2), 2);
    t.is(await see(pageBytes, pageBytes), 1);
    t.is(await see(pageBytes + 1, pageBytes), 2);
    t.is(await see(MIB), 1);
    t.is(await see(MIB / 2, 10 * GIB), MIB / 2 / pageBytes + 1, 'no further than the file');
    t.is(await see(MIB + 1), 1, 'the page of its end');
    t.is(await see(GIB, 10), 0);
    t.is(await see(0, 0), 0);
    truncateSync(path, 0);
    t.is(await see(), 0);
  });
}

test('of what is no file nothing is told, and what cannot be opened is the error of the system', async (t) => {
  const directory = await temporaryDirectory(t);
  execFileSync('mkfifo', [join(directory, 'fifo')]);
  symlinkSync('loop', join(directory, 'loop'));
  writePattern(directory, 'artifact', 10_000, 1);
  symlinkSync('artifact', join(directory, 'link'));
  for (const path of [directory, join(directory, 'fifo'), '/dev/null']) {
    t.is(await cachedPages(path), undefined, path);
    t.is(await pageMap(path), undefined, path);
  }
  for (const look of [cachedPages, pageMap]) {
    await t.throwsAsync(look(join(directory, 'none')), { code: 'ENOENT' });
    await t.throwsAsync(look(join(directory, 'artifact', 'below')), { code: 'ENOTDIR' });
    await t.throwsAsync(look(join(directory, 'loop')), { code: 'ELOOP' });
    await t.throwsAsync(look(join(directory, 'artifact'), -1), { instanceOf: RangeError, message: /^offset: .*-1$/ });
    await t.throwsAsync(look(join(directory, 'artifact'), 0, 0.5), { instanceOf: RangeError, message: /^length: / });
  }
  t.is((await cachedPages(join(directory, 'link')))?.resident, (await cachedPages(join(directory, 'artifact')))?.pages);
  t.deepEqual(descriptorsBelow(directory), []);
});

test('without a binding nothing is told', async (t) => {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'artifact', 10_000, 1);
  const view = viewPageCache(loadBindings({ mmapIo: false, libc: false }));
  t.is(await view.cachedPages(join(directory, 'artifact')), undefined);
  t.is(await view.pageMap(join(directory, 'artifact')), undefined);
});

test('of a large file the first 4 GiB are told, and others get their turn meanwhile', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'sparse');
  const fd = openSync(path, 'w');
  ftruncateSync(fd, 5 * GIB);
  closeSync(fd);
  const { view, steps, end } = countTurns();
  t.teardown(end);
  const pages = (await view.pageMap(path)) ?? t.fail();
  t.is(runs(pages), `${pages.byteLength}-`);
  const counted = (await view.cachedPages(path)) ?? t.fail();
  t.is(pages.byteLength * counted.pageBytes, 4 * GIB);
  t.is(counted.pages * counted.pageBytes, 5 * GIB);
  t.is((await view.pageMap(path, 3 * GIB))?.byteLength, (2 * GIB) / counted.pageBytes);
  t.true(steps.length > 300, `${steps.length} steps`);
  t.deepEqual(
    steps.filter((turn, index) => turn === steps[index + 1]),
    [],
  );
});

/** A view that says in which turn of the event loop it has taken each step. */
function countTurns(): { readonly view: PageCacheView; readonly steps: number[]; readonly end: () => void } {
  const bindings = load({ mmapIo: false });
  const { libc } = bindings;
  if (libc === undefined) throw new Error('koffi does not load');
  const steps: number[] = [];
  let turns = 0;
  let turn = setImmediate(function next() {
    turns++;
    turn = setImmediate(next);
  });
  const watched = {
    ...libc,
    countCached: (...step: Parameters<typeof libc.countCached>) => {
      steps.push(turns);
      return libc.countCached(...step);
    },
    mapResident: (...step: Parameters<typeof libc.mapResident>) => {
      steps.push(turns);
      return libc.mapResident(...step);
    },
  };
  return { view: viewPageCache({ ...bindings, libc: watched }), steps, end: () => clearImmediate(turn) };
}

// /etc/passwd is everybody's to read, and root's.
test.serial('of the files of others mincore is not believed', async (t) => {
  readFileSync('/etc/passwd');
  const look = async (): Promise<unknown[]> => [
    await viewPageCache(withoutCachestat()).cachedPages('/etc/passwd'),
    await viewPageCache(load({ libc: false })).cachedPages('/etc/passwd'),
    await pageMap('/etc/passwd'),
  ];
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(NOBODY);
  try {
    t.deepEqual(await look(), [undefined, undefined, undefined]);
    // The kernel counts them, refuses to, or is too old; none of them is a lie.
    const counted = await cachedPages('/etc/passwd');
    t.true(counted === undefined || (counted.resident === counted.pages && counted.pages > 0));
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
});

test('the files of an overlay have their pages in the file system below', async (t) => {
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
