interface Range {
  readonly start: number;
  readonly end: number;
}

/** Byte ranges of a file that have been written. The ranges between them are holes, which take no space on the disk. */
export class WrittenRanges {
  /** Disjoint and not adjacent, in any order. There are about as many as uploads in progress. */
  #ranges: readonly Range[] = [];

  add(start: number, end: number): void {
    if (start === end) return;
    const isApart = (range: Range): boolean => range.end < start || range.start > end;
    const joined = this.#ranges.filter((range) => !isApart(range));
    const first = Math.min(start, ...joined.map((range) => range.start));
    const last = Math.max(end, ...joined.map((range) => range.end));
    this.#ranges = [...this.#ranges.filter(isApart), { start: first, end: last }];
  }

  /** Returns the number of bytes from `start` to `end` that have not been written. */
  unwrittenBytes(start: number, end: number): number {
    let bytes = end - start;
    for (const range of this.#ranges) bytes -= Math.max(0, Math.min(end, range.end) - Math.max(start, range.start));
    return bytes;
  }
}
