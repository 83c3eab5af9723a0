import { mkdir, readdir, readFile, realpath, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoCode } from '../../contract/errors.js';
import { invalidOption } from '../../contract/validation.js';
import { syncDirectory } from './segment.js';

/** Where the parts of a segment store are. */
export interface Layout {
  /** The directory, absolute and with symlinks resolved. */
  readonly root: string;
  readonly index: string;
  readonly segments: string;
}

const INDEX_NAME = 'index.mdb';
const SEGMENTS_NAME = 'segments';
/** There while bodies are acknowledged that may not be on the disk. It holds the {@link bootId}. */
const UNSYNCED_NAME = 'unsynced';
const FOREIGN = /^(?!lost\+found$|writer[.-])/;

/**
 * The parts of the store in `dir`, which is created where it is absent.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` where `dir` is a file, cannot be reached, or holds something else
 */
export async function createLayout(dir: string): Promise<Layout> {
  try {
    const created = await mkdir(dir, { recursive: true });
    const layout = layoutOf(await realpath(dir));
    if (created !== undefined) await syncDirectory(dirname(created));
    // In one look, and never failing because it is there by now: others may be starting at the same moment.
    const names = await readdir(layout.root);
    if (!names.includes(SEGMENTS_NAME)) {
      const foreign = names.find((name) => FOREIGN.test(name));
      if (foreign !== undefined) throw unusable(dir, `'${foreign}'`, 'a directory of a segment store, or an empty one');
      await mkdir(layout.segments, { recursive: true });
      await syncDirectory(layout.root);
    }
    return layout;
  } catch (error) {
    throw unusableOr(dir, error);
  }
}

/**
 * The parts of the store that is in `dir` already.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` where there is none
 */
export async function findLayout(dir: string): Promise<Layout> {
  try {
    const layout = layoutOf(await realpath(dir));
    await stat(layout.segments);
    await stat(layout.index);
    return layout;
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') throw unusable(dir, 'none', 'a segment store', error);
    throw unusableOr(dir, error);
  }
}

/**
 * Starts anew where bodies were acknowledged before they were on the disk and the system has gone down since: nobody could
 * tell which of them are whole.
 */
export async function discardUnsynced(layout: Layout): Promise<void> {
  const marker = await readMarker(layout);
  if (marker === undefined || (marker !== '' && marker === (await bootId()))) return;
  // The index first: without it nobody is sent to a segment.
  for (const name of [INDEX_NAME, `${INDEX_NAME}-lock`]) await rm(join(layout.root, name), { force: true });
  await syncDirectory(layout.root);
  for (const name of await readdir(layout.segments)) await unlink(join(layout.segments, name));
  await unmarkUnsynced(layout);
}

/** Says that from now on bodies are acknowledged before they are on the disk. */
export async function markUnsynced(layout: Layout): Promise<void> {
  const id = await bootId();
  if ((await readMarker(layout)) === id) return;
  // By rename: a process that is killed here must not leave an empty one, which would be that of another boot.
  const path = join(layout.root, UNSYNCED_NAME);
  await writeFile(`${path}.new`, id, { flush: true });
  await rename(`${path}.new`, path);
  await syncDirectory(layout.root);
}

/** Says that all of them are. */
export async function unmarkUnsynced(layout: Layout): Promise<void> {
  await rm(join(layout.root, UNSYNCED_NAME), { force: true });
  await syncDirectory(layout.root);
}

function readMarker(layout: Layout): Promise<string | undefined> {
  return readFile(join(layout.root, UNSYNCED_NAME), 'latin1').catch((error: unknown) => {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  });
}

/** What changes whenever the system starts; empty where it does not say. */
async function bootId(): Promise<string> {
  return readFile('/proc/sys/kernel/random/boot_id', 'latin1').catch(() => '');
}

function layoutOf(root: string): Layout {
  return { root, index: join(root, INDEX_NAME), segments: join(root, SEGMENTS_NAME) };
}

function unusableOr(dir: string, error: unknown): unknown {
  const code = errnoCode(error);
  if (code === 'EEXIST' || code === 'ENOTDIR') return unusable(dir, 'a file', 'a directory', error);
  if (code === 'EACCES' || code === 'EROFS') {
    return unusable(dir, code, 'a directory that can be read and written to, or created', error);
  }
  return error;
}

function unusable(dir: string, found: string, expected: string, cause?: unknown) {
  const error = invalidOption('dir', expected, dir);
  error.message = `dir: expected ${expected}, received ${found} at '${dir}'`;
  if (cause !== undefined) error.cause = cause;
  return error;
}
