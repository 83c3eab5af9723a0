/** Part of a file, mapped into memory until neither `bytes` nor another view of the same memory is reachable. */
export interface Mapping {
  readonly bytes: Uint8Array;
  /**
   * Whether every page of `length` bytes at `start` is resident now (mincore(2)). `start` must be a multiple of the page
   * size. Only meaningful for files that pass {@link canTrustMincore}.
   */
  isResident(start: number, length: number): boolean;
}

/** Binding that maps files. */
export interface Mapper {
  readonly name: 'mmap-io' | 'libc';
  /** Largest position in a file that a mapping can end at. */
  readonly maxEnd: number;
  /**
   * Maps `length` bytes at `offset` read-only and shared. `offset` must be a multiple of the page size. Throws if the
   * kernel refuses.
   */
  map(fd: number, offset: number, length: number): Mapping;
}
