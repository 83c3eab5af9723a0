import { loadOptional } from '../util/load-optional.js';
import type { Mapper, Mapping } from './mapper.js';

/** What is used of the package `mmap-io`; its own types describe a default export that it does not have in ESM. */
interface MmapIo {
  readonly PROT_READ: number;
  readonly MAP_SHARED: number;
  map(length: number, protection: number, flags: number, fd: number, offset: number): Buffer;
  /** Pages absent and pages resident, in this order. */
  incore(bytes: Uint8Array): [number, number];
}

// It hands length and offset to the kernel through 32-bit integers, and what does not fit wraps silently: the wrong bytes.
const MAX_END = 2 ** 31 - 1;

class MmapIoMapping implements Mapping {
  readonly bytes: Buffer;
  readonly #binding: MmapIo;

  constructor(binding: MmapIo, bytes: Buffer) {
    this.#binding = binding;
    this.bytes = bytes;
  }

  isResident(start: number, length: number): boolean {
    // A view of the mapping that starts at a page: `OpenFile`. subarray() never reaches behind its end.
    return this.#binding.incore(this.bytes.subarray(start, start + length))[0] === 0;
  }
}

/** A mapper over the package `mmap-io`, or undefined where that is not installed or not compiled. */
export function loadMmapIo(): Mapper | undefined {
  // Windows has no mincore, and there the package answers without one.
  if (process.platform === 'win32') return undefined;
  // see MmapIo
  const binding = loadOptional('mmap-io') as MmapIo | undefined;
  if (typeof binding?.map !== 'function' || typeof binding.incore !== 'function') return undefined;
  return {
    name: 'mmap-io',
    maxEnd: MAX_END,
    // Below 2^31: `Bindings.map`, by maxEnd. The mapping goes when its Buffer is collected: the package has no other way, and
    // none is safer. That nothing reads it then, and that the file is not cut off below it: as in libc.ts.
    map: (fd, offset, length) =>
      new MmapIoMapping(binding, binding.map(length, binding.PROT_READ, binding.MAP_SHARED, fd, offset)),
  };
}
