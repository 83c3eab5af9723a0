import { type FileHandle, open } from 'node:fs/promises';
import { errnoCode } from '../../contract/errors.js';

/**
 * Looks at the trees of an lmdb file without lmdb. That maps the file and trusts what is there: a page that has gone bad, or
 * a file that has been cut off, would end the process with a SIGSEGV, a SIGBUS or a failed assertion. (Tried: of 40 damaged
 * files 19 did.)
 *
 * The format is that of the package `lmdb` 3, data version 2: little-endian, page numbers and transactions of 64 bits.
 */

const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const HEADER = 24;
const META = { magic: 24, version: 28, free: 48, main: 96, lastPage: 144, transaction: 152, end: 160 } as const;
const TREE = { pageSize: 0, depth: 6, entries: 32, root: 40, end: 48 } as const;
const NODE_HEADER = 8;
const BRANCH = 1;
const LEAF = 2;
const OVERFLOW = 4;
const META_PAGE = 8;
const KIND_MASK = 0xf;
const BIG_DATA = 1;
const SUBTREE = 2;
const NO_PAGE = 2n ** 64n - 1n;
/** Read at once, with what lies between pages that are wanted. */
const READ_BYTES = 1024 * 1024;
/** While another process writes, pages change under a walk. */
const ATTEMPTS = 5;

/** A page that is to be looked at, and how many levels of its tree begin with it; 0 for an overflow page. */
interface Visit {
  readonly page: number;
  readonly levels: number;
}

class Damage extends Error {}

/**
 * What is wrong with the structure of an lmdb file; undefined where it is sound, or absent. Of a large one the upper levels
 * are looked at first.
 *
 * @param maxPages how many pages are looked at
 * @param mayBeEmpty whether it is sound without anything in it: to whoever would begin it, as lmdb does
 * @throws what the system says
 */
export async function damageOf(path: string, maxPages: number, mayBeEmpty: boolean): Promise<string | undefined> {
  const file = await open(path, 'r').catch((error: unknown) => {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (file === undefined) return undefined;
  try {
    for (let attempt = 1; ; attempt++) {
      const before = await newestMeta(file);
      if (before === undefined) return mayBeEmpty ? undefined : 'it is empty';
      try {
        await walk(file, before, maxPages);
        return undefined;
      } catch (error) {
        if (!(error instanceof Damage)) throw error;
        const after = await newestMeta(file);
        if (after?.transaction === before.transaction) return error.message;
        // A writer that gets on shows that the file is sound.
        if (attempt === ATTEMPTS) return undefined;
      }
    }
  } catch (error) {
    if (error instanceof Damage) return error.message;
    throw error;
  } finally {
    await file.close();
  }
}

interface Meta {
  readonly pageSize: number;
  readonly lastPage: number;
  readonly transaction: bigint;
  readonly roots: readonly Visit[];
}

/** The page that the trees start from. Of two the newer one counts, and a writer fills the older. */
async function newestMeta(file: FileHandle): Promise<Meta | undefined> {
  const { size } = await file.stat();
  if (size === 0) return undefined; // made, and never written to
  const first = await metaAt(file, 0);
  const second = await metaAt(file, first.pageSize);
  if (second.pageSize !== first.pageSize) throw new Damage('its two first pages contradict each other');
  return second.transaction > first.transaction ? second : first;
}

async function metaAt(file: FileHandle, position: number): Promise<Meta> {
  const bytes = Buffer.alloc(META.end);
  const { bytesRead } = await file.read(bytes, 0, META.end, position);
  const isMeta =
    bytesRead === META.end &&
    (bytes.readUInt16LE(18) & META_PAGE) !== 0 &&
    bytes.readUInt32LE(META.magic) === MAGIC &&
    (bytes.readUInt32LE(META.version) & 0xffff) === DATA_VERSION;
  const pageSize = bytes.readUInt32LE(META.free + TREE.pageSize);
  if (!isMeta || pageSize < 256 || pageSize > 65_536 || (pageSize & (pageSize - 1)) !== 0) {
    throw new Damage('it does not begin as an index does');
  }
  return {
    pageSize,
    lastPage: Number(bytes.readBigUInt64LE(META.lastPage)),
    transaction: bytes.readBigUInt64LE(META.transaction),
    roots: [META.free, META.main].flatMap((at) => rootOf(bytes, at)),
  };
}

function rootOf(bytes: Buffer, at: number): Visit[] {
  const root = bytes.readBigUInt64LE(at + TREE.root);
  const levels = bytes.readUInt16LE(at + TREE.depth);
  if (root === NO_PAGE) return [];
  if (levels === 0 || levels > 32) throw new Damage(`it says that a tree has ${levels} levels`);
  return [{ page: Number(root), levels }];
}

/** Level by level, each in the order of the file: nearly every page is read once, and in long runs. */
async function walk(file: FileHandle, meta: Meta, maxPages: number): Promise<void> {
  const seen = new Set<number>();
  let level = [...meta.roots];
  while (level.length > 0 && seen.size < maxPages) {
    level.sort((a, b) => a.page - b.page);
    const next: Visit[] = [];
    for await (const { visit, bytes } of pagesOf(file, meta, level)) {
      if (seen.has(visit.page)) throw new Damage(`page ${visit.page} is part of it twice`);
      seen.add(visit.page);
      look(visit, bytes, meta.transaction, next);
    }
    level = next;
  }
}

async function* pagesOf(file: FileHandle, { pageSize, lastPage }: Meta, level: readonly Visit[]) {
  let window = Buffer.alloc(0);
  let windowStart = 0;
  for (const visit of level) {
    if (visit.page < 2 || visit.page > lastPage) throw new Damage(`there is no page ${visit.page}`);
    const position = visit.page * pageSize;
    if (position < windowStart || position + pageSize > windowStart + window.byteLength) {
      const buffer = Buffer.allocUnsafe(READ_BYTES);
      const { bytesRead } = await file.read(buffer, 0, READ_BYTES, position);
      window = buffer.subarray(0, bytesRead);
      windowStart = position;
      if (bytesRead < pageSize) throw new Damage(`it ends before page ${visit.page}`);
    }
    yield { visit, bytes: window.subarray(position - windowStart, position - windowStart + pageSize) };
  }
}

/** Checks one page, and adds those below it to `next`. */
function look({ page, levels }: Visit, bytes: Buffer, transaction: bigint, next: Visit[]): void {
  const kind = bytes.readUInt16LE(18) & KIND_MASK;
  const expected = levels === 0 ? OVERFLOW : levels === 1 ? LEAF : BRANCH;
  if (Number(bytes.readBigUInt64LE(0)) !== page || kind !== expected) throw new Damage(`page ${page} is another one`);
  // lmdb would take it for one of its own that is not written yet, and free it.
  if (bytes.readBigUInt64LE(8) > transaction) throw new Damage(`page ${page} is from the future`);
  if (kind === OVERFLOW) return;
  // All of them count from behind the header.
  const room = bytes.byteLength - HEADER;
  const lower = bytes.readUInt16LE(20);
  const upper = bytes.readUInt16LE(22);
  if (lower % 2 !== 0 || lower === 0 || lower > upper || upper > room) throw new Damage(`page ${page} has no bounds`);
  for (let at = HEADER; at < HEADER + lower; at += 2) {
    const start = bytes.readUInt16LE(at);
    if (start < upper || start + NODE_HEADER > room) throw new Damage(`page ${page} has a node outside`);
    const end = lookAtNode(page, bytes, HEADER + start, kind === BRANCH ? levels : undefined, next);
    if (end > bytes.byteLength) throw new Damage(`page ${page} has a node that is too long`);
  }
}

/** Returns where the node ends. */
function lookAtNode(page: number, bytes: Buffer, at: number, levels: number | undefined, next: Visit[]): number {
  const low = bytes.readUInt32LE(at);
  const flags = bytes.readUInt16LE(at + 4);
  const data = at + NODE_HEADER + bytes.readUInt16LE(at + 6);
  if (levels !== undefined) {
    next.push({ page: low + flags * 2 ** 32, levels: levels - 1 });
    return data;
  }
  const dataBytes = (flags & BIG_DATA) !== 0 ? 8 : low;
  if (data + dataBytes > bytes.byteLength) throw new Damage(`page ${page} has a node that is too long`);
  if ((flags & BIG_DATA) !== 0) next.push({ page: Number(bytes.readBigUInt64LE(data)), levels: 0 });
  if ((flags & ~(BIG_DATA | SUBTREE)) !== 0) throw new Damage(`page ${page} has a node of an unknown kind`);
  if ((flags & SUBTREE) !== 0) {
    if (low !== TREE.end) throw new Damage(`page ${page} does not say where a tree begins`);
    next.push(...rootOf(bytes, data));
  }
  return data + dataBytes;
}
