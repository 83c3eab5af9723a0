/** A part of a file in memory. It stays mapped for as long as `bytes`, or any view of the same memory, can be reached. */
export interface Mapping {
  readonly bytes: Uint8Array;
  /**
   * Whether every page of `length` bytes at `start` is in the page cache now (mincore). `start` is a multiple of the
   * page size. Only to be believed of files that {@link canTrustMincore} vouches for.
   */
  isResident(start: number, length: number): boolean;
}

/** Makes mappings. Each binding implements it once. */
export interface Mapper {
  readonly name: 'mmap-io' | 'libc';
  /** The largest end of a mapping, in bytes from the start of the file. */
  readonly maxEnd: number;
  /** Maps `length` bytes at `offset`, a multiple of the page size, read-only and shared. Throws where the kernel refuses. */
  map(fd: number, offset: number, length: number): Mapping;
}
