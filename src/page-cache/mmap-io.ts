import { loadOptional } from '../util/load-optional.js';
import { detach } from './detach.js';
import type { Mapper, Mapping } from './mapper.js';

/**
 * Functions of the package `mmap-io` that are used here. The types of the package are wrong for an ES module: they
 * declare a default export.
 */
interface MmapIo {
  readonly PROT_READ: number;
  readonly MAP_SHARED: number;
  map(length: number, protection: number, flags: number, fd: number, offset: number): Buffer;
  /** Returns two numbers: of the pages that are not resident, and of the pages that are resident. */
  incore(bytes: Uint8Array): [number, number];
}

// The package passes length and offset through 32-bit integers. Larger values wrap silently and map the wrong bytes.
const MAX_END = 2 ** 31 - 1;

class MmapIoMapping implements Mapping {
  readonly bytes: Buffer;
  readonly #binding: MmapIo;

  constructor(binding: MmapIo, bytes: Buffer) {
    this.#binding = binding;
    this.bytes = bytes;
  }

  isResident(start: number, length: number): boolean {
    // Safety: `OpenFile` passes a `start` at a page boundary, and subarray() never exceeds the mapping.
    return this.#binding.incore(this.bytes.subarray(start, start + length))[0] === 0;
  }

  unmap(): void {
    // Safety: the package unmaps when the Buffer loses its memory, and offers no other way. `OpenFile` unmaps only when no
    // window of the mapping is in flight.
    detach?.(this.bytes.buffer as ArrayBuffer);
  }
}

/**
 * Loads the mapper of the package `mmap-io`. Returns undefined if the package is not installed, if its binding is not
 * compiled, or if its mappings could be removed only by garbage collection.
 */
export function loadMmapIo(): Mapper | undefined {
  // Windows has no mincore, and the package returns invented values there.
  if (process.platform === 'win32') return undefined;
  const binding = loadOptional('mmap-io') as MmapIo | undefined;
  if (typeof binding?.map !== 'function' || typeof binding.incore !== 'function') return undefined;
  if (detach === undefined) return undefined;
  return {
    name: 'mmap-io',
    maxEnd: MAX_END,
    // Safety: `Bindings.map` checks `maxEnd`. As in libc.ts, the store promises not to truncate the file.
    map: (fd, offset, length) =>
      new MmapIoMapping(binding, binding.map(length, binding.PROT_READ, binding.MAP_SHARED, fd, offset)),
  };
}
