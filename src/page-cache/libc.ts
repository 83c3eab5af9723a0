import type * as Koffi from 'koffi';
import { loadOptional } from '../util/load-optional.js';
import type { Mapper, Mapping } from './mapper.js';

const PROT_READ = 1;
const MAP_SHARED = 1;
const MAP_FAILED = 2n ** 64n - 1n;
const RWF_NOWAIT = 8;
const SC_PAGESIZE = 30;
const SEEK_END = 2;
/** The number of cachestat(2) on every 64-bit architecture of Linux that is bound here. */
const SYS_CACHESTAT = 451n;

/** A struct iovec over one buffer, made once and used again. */
interface Iovec {
  /** Address and length, 8 bytes each. */
  readonly struct: Uint8Array;
  /** The low half of the length. */
  readonly length: Uint32Array;
}

/** A buffer to copy into. Its memory is never moved or replaced. */
export interface CopyTarget {
  readonly memory: Uint8Array;
  /** Filled in by the first copy. */
  iovec?: Iovec;
}

/** What this package calls in the C library of Linux, through koffi. */
export interface Libc extends Mapper {
  readonly name: 'libc';
  readonly pageSize: number;
  /** The size of an open file now, in bytes. Moves its offset, which nothing here uses. Cheaper than fstat. */
  sizeOf(fd: number): number;
  /**
   * Copies up to `length` bytes at `offset` into `target`, as far as they are in the page cache, and never
   * waits for a disk (preadv2 with RWF_NOWAIT). Returns the bytes copied, 0 where the first one would have to be waited
   * for, or -1 where the file system cannot do it.
   */
  copyResident(fd: number, target: CopyTarget, length: number, offset: number): number;
  /**
   * How many pages of `length` bytes at `offset` the page cache has for the inode behind `fd` (cachestat, Linux 6.5), or -1
   * where the kernel does not say: it is older, the file is somebody else's, or a sandbox forbids the call. Pages that are
   * still being read count too. A file of an overlay has none, since the pages are those of the file below it.
   */
  countCached(fd: number, offset: number, length: number): number;
  /**
   * Writes a byte for each page of `length` bytes at `offset`, a multiple of the page size, into `pages`: 1 for one that is in
   * the page cache (mincore). Returns whether the kernel has answered. Only to be believed as `isResident` of a mapping is.
   */
  mapResident(fd: number, offset: number, length: number, pages: Uint8Array): boolean;
}

let loaded: Libc | undefined | null = null;

/** The bindings, or undefined off 64-bit Linux or where koffi does not load. Loaded at the first call. */
export function loadLibc(): Libc | undefined {
  if (loaded === null) loaded = load();
  return loaded;
}

function load(): Libc | undefined {
  // The structs below are those of 64-bit little-endian Linux.
  if (process.platform !== 'linux' || !['x64', 'arm64', 'riscv64', 'loong64'].includes(process.arch)) return undefined;
  // koffi's types describe what its module holds
  const koffi = loadOptional('koffi') as typeof Koffi | undefined;
  if (koffi === undefined) return undefined;
  try {
    return bind(koffi);
  } catch {
    return undefined; // a C library without one of these functions
  }
}

/*
 * At each call that could end the process stands what must hold, and who sees to it. Descriptors: `OpenFile` calls with its
 * own only, which stays open while anybody is entered.
 */
function bind(koffi: typeof Koffi): Libc {
  const lib = koffi.load(null);
  const mmap = lib.func('void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)');
  const munmap = lib.func('int munmap(void *addr, size_t length)');
  const mincore = lib.func('int mincore(void *addr, size_t length, void *vec)');
  const preadv2 = lib.func('int64_t preadv2(int fd, void *iov, int count, int64_t offset, int flags)');
  const lseek = lib.func('int64_t lseek(int fd, int64_t offset, int whence)');
  const syscall = lib.func('int64_t syscall(int64_t number, int64_t fd, void *range, void *answer, int64_t flags)');
  const sysconf = lib.func('int64_t sysconf(int name)');
  const { EAGAIN, EINTR } = koffi.os.errno;
  const pageSize = Number(sysconf(SC_PAGESIZE));

  // A view that koffi makes does not own its memory. The registry unmaps when the last view is gone, never before: a
  // read of an unmapped page is a SIGSEGV, and Node may still be sending from a buffer that its stream has forgotten.
  const unmapper = new FinalizationRegistry<{ address: bigint; length: number }>(({ address, length }) => {
    // Once, for what mmap gave, when no JavaScript reaches the ArrayBuffer: the registry. That libuv does not either: its
    // write over HTTP/1.1 refers to the Buffer, and over HTTP/2 the session's fence does, until the bytes are out.
    munmap(address, length);
  });
  // struct cachestat_range: offset and length. struct cachestat: five counts, of which the first is that of cached pages.
  const cachedRange = new BigUint64Array(Buffer.allocUnsafeSlow(16).buffer);
  const cachedCounts = new BigUint64Array(Buffer.allocUnsafeSlow(40).buffer);
  // One byte a page. Node runs this in one thread, so that one vector serves all calls.
  let residency: Uint8Array = Buffer.allocUnsafeSlow(256);

  class LibcMapping implements Mapping {
    readonly bytes: Uint8Array;
    /** A number: user space ends at 2^47, and sums of BigInts would be garbage on the hot path. */
    readonly #address: number;

    constructor(address: bigint, length: number) {
      this.#address = Number(address);
      // One view of each mapping, of its exact length: this constructor is called by `map` alone.
      const memory = koffi.view(address, length);
      unmapper.register(memory, { address, length });
      this.bytes = new Uint8Array(memory);
    }

    isResident(start: number, length: number): boolean {
      const pages = Math.ceil(length / pageSize);
      if (pages > residency.length) residency = Buffer.allocUnsafeSlow(pages);
      // The vector has a byte for each page: the line above. The range starts at a page: `OpenFile`. It may reach behind
      // the mapping, where the kernel answers ENOMEM. The mapping is there: `this.bytes` is.
      if (mincore(this.#address + start, length, residency) !== 0) return false;
      for (let page = 0; page < pages; page++) {
        // The bit that counts is the lowest; the others are reserved (mincore(2)).
        if (((residency[page] ?? 0) & 1) === 0) return false;
      }
      return true;
    }
  }

  function iovec(memory: Uint8Array): Iovec {
    const struct = Buffer.allocUnsafeSlow(16).fill(0);
    // The address stays good: memory outside of V8's heap is not moved, and whoever has the iovec has the memory.
    struct.writeBigUInt64LE(koffi.address(memory), 0);
    return { struct, length: new Uint32Array(struct.buffer, 8, 1) };
  }

  return {
    name: 'libc',
    maxEnd: Number.MAX_SAFE_INTEGER,
    pageSize,
    map(fd, offset, length) {
      // No page is touched, and length and offset may be anything: the kernel refuses what it cannot map. That the file is
      // not cut off below a mapping that is read: the store's promise, and `OpenFile.mapped`, which looks before each use.
      const address: bigint = mmap(null, length, PROT_READ, MAP_SHARED, fd, offset);
      if (BigInt.asUintN(64, address) === MAP_FAILED) throw new Error(`mmap failed with errno ${koffi.errno()}`);
      return new LibcMapping(address, length);
    },
    // -1 where it fails: less than any window.
    sizeOf: (fd) => lseek(fd, 0, SEEK_END),
    copyResident(fd, target, length, offset) {
      target.iovec ??= iovec(target.memory);
      // The kernel writes no more than this, and the buffer has it. That nobody else reads or writes it: the lease.
      target.iovec.length[0] = Math.min(length, target.memory.byteLength);
      const copied: number = preadv2(fd, target.iovec.struct, 1, offset, RWF_NOWAIT);
      if (copied >= 0) return copied;
      const errno = koffi.errno();
      return errno === EAGAIN || errno === EINTR ? 0 : -1;
    },
    countCached(fd, offset, length) {
      if (length <= 0) return 0; // to the kernel 0 is "up to the end"
      cachedRange[0] = BigInt(offset);
      cachedRange[1] = BigInt(length);
      // The kernel reads 16 bytes and writes 40: both have them. A kernel without the call touches neither.
      const failed: number = syscall(SYS_CACHESTAT, fd, cachedRange, cachedCounts, 0);
      return failed === 0 ? Number(cachedCounts[0]) : -1;
    },
    mapResident(fd, offset, length, pages) {
      const count = Math.ceil(length / pageSize);
      if (count > pages.byteLength) throw new RangeError(`${count} pages do not fit into ${pages.byteLength} bytes`);
      if (count === 0) return true;
      const address: bigint = mmap(null, length, PROT_READ, MAP_SHARED, fd, offset);
      if (BigInt.asUintN(64, address) === MAP_FAILED) return false;
      // The vector has a byte for each page: the line above. No view of the mapping is made and no page of it touched, so that
      // it can go at once, and that the file is cut off meanwhile does not matter.
      const failed: number = mincore(address, length, pages);
      munmap(address, length);
      // The bit that counts is the lowest; the others are reserved (mincore(2)).
      for (let page = 0; page < count; page++) pages[page] = (pages[page] ?? 0) & 1;
      return failed === 0;
    },
  };
}
