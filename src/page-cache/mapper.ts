/** Part of a file that is mapped into memory. Its owner unmaps it once. */
export interface Mapping {
  readonly bytes: Uint8Array;
  /**
   * Returns whether every page in the `length` bytes at `start` is resident now (mincore(2)). `start` must be a
   * multiple of the page size. The result is correct only for files that pass {@link canTrustMincore}.
   */
  isResident(start: number, length: number): boolean;
  /** Unmaps the part, at once or in the next iteration of the event loop. Nothing may read its memory any more. */
  unmap(): void;
}

/** Native binding that maps files. */
export interface Mapper {
  readonly name: 'mmap-io' | 'libc';
  /** Largest position in a file at which a mapping can end. */
  readonly maxEnd: number;
  /**
   * Maps `length` bytes at `offset` read-only and shared. `offset` must be a multiple of the page size. Throws if the
   * kernel refuses the mapping.
   */
  map(fd: number, offset: number, length: number): Mapping;
}
