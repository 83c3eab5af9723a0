import type * as Koffi from 'koffi';
import { loadOptional } from '../util/load-optional.js';
import { detach } from './detach.js';
import type { Mapper, Mapping } from './mapper.js';

const PROT_READ = 1;
const MAP_SHARED = 1;
const MAP_FAILED = 2n ** 64n - 1n;
const RWF_NOWAIT = 8;
const SC_PAGESIZE = 30;
const SEEK_END = 2;
/** System call number of cachestat(2) on each supported architecture. */
const SYS_CACHESTAT = 451n;

/** struct iovec for one buffer. It is created once and reused. */
interface Iovec {
  /** Address and length, 8 bytes each. */
  readonly struct: Uint8Array;
  /** Low 32 bits of the length. */
  readonly length: Uint32Array;
}

/** Buffer to copy into. Its memory must not be moved or replaced, because `iovec` holds its address. */
export interface CopyTarget {
  readonly memory: Uint8Array;
  /** struct iovec of `memory`. The first copy creates it. */
  iovec?: Iovec;
}

/** Functions of the C library of Linux, called through koffi. */
export interface Libc extends Mapper {
  readonly name: 'libc';
  readonly pageSize: number;
  /** Returns the current size of an open file, or -1 if that fails. Uses lseek(2), which is cheaper than fstat(2). */
  sizeOf(fd: number): number;
  /**
   * Copies up to `length` bytes at `offset` into `target`, without waiting for a disk (preadv2(2) with RWF_NOWAIT).
   * Stops at the first byte that is not resident. Returns the number of bytes copied, or -1 if the file system does not
   * support RWF_NOWAIT.
   */
  copyResident(fd: number, target: CopyTarget, length: number, offset: number): number;
  /**
   * Returns the number of cached pages in the `length` bytes at `offset` (cachestat(2), Linux 6.5). Returns -1 if the
   * kernel is older, the file belongs to another user, or a sandbox blocks the call. Pages that are still being read
   * count too. Returns 0 for a file of an overlay, because its pages belong to the inode of the lower file.
   */
  countCached(fd: number, offset: number, length: number): number;
  /**
   * Writes one byte into `pages` for each page in the `length` bytes at `offset`: 1 if the page is resident, otherwise
   * 0 (mincore(2)). `offset` must be a multiple of the page size. Returns whether the system calls succeeded. The
   * result is correct only for files that pass {@link canTrustMincore}.
   */
  mapResident(fd: number, offset: number, length: number, pages: Uint8Array): boolean;
}

let loaded: Libc | undefined | null = null;

/**
 * Returns the functions of the C library, and loads them on the first call. Returns undefined if the system is not a
 * supported 64-bit Linux, or if koffi cannot be loaded.
 */
export function loadLibc(): Libc | undefined {
  if (loaded === null) loaded = load();
  return loaded;
}

function load(): Libc | undefined {
  // The structs below are those of 64-bit little-endian Linux.
  if (process.platform !== 'linux' || !['x64', 'arm64', 'riscv64', 'loong64'].includes(process.arch)) return undefined;
  const koffi = loadOptional('koffi') as typeof Koffi | undefined;
  if (koffi === undefined) return undefined;
  try {
    return bind(koffi);
  } catch {
    return undefined; // the C library lacks one of these functions
  }
}

/*
 * A wrong argument of these functions can crash the process. The comments marked "Safety" say what must hold for each
 * call and which code ensures it. For all of them: `OpenFile` passes only its own descriptor, which stays open while a
 * response or a read holds a reference to the file.
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

  // struct cachestat_range has an offset and a length. struct cachestat has five counters; the first one counts cached
  // pages.
  const cachedRange = new BigUint64Array(Buffer.allocUnsafeSlow(16).buffer);
  const cachedCounts = new BigUint64Array(Buffer.allocUnsafeSlow(40).buffer);
  // One byte per page. All calls share one vector, because they are synchronous and run on one thread.
  let residency: Uint8Array = Buffer.allocUnsafeSlow(256);

  class LibcMapping implements Mapping {
    readonly bytes: Uint8Array;
    /**
     * Address of the mapping. It is a number, because user space ends at 2^47 and BigInt sums would create garbage on
     * the hot path.
     */
    readonly #address: number;

    constructor(address: bigint, length: number) {
      this.#address = Number(address);
      // Safety: only `map` calls this constructor, with the address and length of a new mapping.
      this.bytes = new Uint8Array(koffi.view(address, length));
    }

    isResident(start: number, length: number): boolean {
      const pages = Math.ceil(length / pageSize);
      if (pages > residency.length) residency = Buffer.allocUnsafeSlow(pages);
      // Safety: the vector has a byte for each page, `OpenFile` passes a range that starts at a page boundary, and
      // `this.bytes` keeps the mapping alive. For a range beyond the mapping the kernel returns ENOMEM.
      if (mincore(this.#address + start, length, residency) !== 0) return false;
      for (let page = 0; page < pages; page++) {
        // Only the lowest bit is defined; the others are reserved (mincore(2)).
        if (((residency[page] ?? 0) & 1) === 0) return false;
      }
      return true;
    }

    unmap(): void {
      const { byteLength: length, buffer } = this.bytes;
      // The view of koffi does not own its memory: without `detach`, a late read in JavaScript would be a SIGSEGV.
      detach?.(buffer as ArrayBuffer);
      // Safety: `OpenFile` calls this once, when no window of the mapping is in flight. libuv reads none of it then: until
      // the bytes have left, the window belongs to a write (HTTP/1.1) or to `SessionFence` (HTTP/2).
      munmap(this.#address, length);
    }
  }

  function iovec(memory: Uint8Array): Iovec {
    const struct = Buffer.allocUnsafeSlow(16).fill(0);
    // Safety: memory outside of V8's heap is not moved, and the owner of the iovec also references the memory.
    struct.writeBigUInt64LE(koffi.address(memory), 0);
    return { struct, length: new Uint32Array(struct.buffer, 8, 1) };
  }

  return {
    name: 'libc',
    maxEnd: Number.MAX_SAFE_INTEGER,
    pageSize,
    map(fd, offset, length) {
      // Safety: mmap touches no page, and the kernel rejects an invalid length or offset. Reading a page beyond the end
      // of a truncated file is a SIGBUS: the store promises not to truncate files, and `OpenFile.mapped` checks the size.
      const address: bigint = mmap(null, length, PROT_READ, MAP_SHARED, fd, offset);
      if (BigInt.asUintN(64, address) === MAP_FAILED) throw new Error(`mmap failed with errno ${koffi.errno()}`);
      return new LibcMapping(address, length);
    },
    sizeOf: (fd) => lseek(fd, 0, SEEK_END),
    copyResident(fd, target, length, offset) {
      target.iovec ??= iovec(target.memory);
      // Safety: the kernel writes at most this many bytes, which fit the buffer. Because of the lease, nothing else
      // uses the buffer.
      target.iovec.length[0] = Math.min(length, target.memory.byteLength);
      const copied: number = preadv2(fd, target.iovec.struct, 1, offset, RWF_NOWAIT);
      if (copied >= 0) return copied;
      const errno = koffi.errno();
      return errno === EAGAIN || errno === EINTR ? 0 : -1;
    },
    countCached(fd, offset, length) {
      if (length <= 0) return 0; // the kernel takes 0 as "up to the end of the file"
      cachedRange[0] = BigInt(offset);
      cachedRange[1] = BigInt(length);
      // Safety: the kernel reads 16 bytes and writes 40, the sizes of the two arrays.
      const failed: number = syscall(SYS_CACHESTAT, fd, cachedRange, cachedCounts, 0);
      return failed === 0 ? Number(cachedCounts[0]) : -1;
    },
    mapResident(fd, offset, length, pages) {
      const count = Math.ceil(length / pageSize);
      if (count > pages.byteLength)
        throw new RangeError(`pages: expected ${count} bytes, received ${pages.byteLength}`);
      if (count === 0) return true;
      const address: bigint = mmap(null, length, PROT_READ, MAP_SHARED, fd, offset);
      if (BigInt.asUintN(64, address) === MAP_FAILED) return false;
      // Safety: the vector has a byte for each page. No page of the mapping is read. A truncation of the file therefore
      // does no harm, and the mapping can be removed at once.
      const failed: number = mincore(address, length, pages);
      munmap(address, length);
      // Only the lowest bit is defined; the others are reserved (mincore(2)).
      for (let page = 0; page < count; page++) pages[page] = (pages[page] ?? 0) & 1;
      return failed === 0;
    },
  };
}
