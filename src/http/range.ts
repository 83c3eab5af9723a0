import type { ByteRange } from '../contract/artifact.js';

// One range between empty list members, with whitespace around each (RFC 9110, 5.6.1.2). The neighbouring parts have no
// character in common, so that a match takes linear time.
const ONE_RANGE = /^bytes=[ \t,]*(\d*)-(\d*)[ \t,]*$/i;

/**
 * What a Range header asks of a representation of `size` bytes (RFC 9110, 14.1.2 and 14.2).
 *
 * @returns the range, cut to the size; `'unsatisfiable'` for a valid one that holds none of its bytes; undefined for a
 * header to ignore: malformed, in another unit, or with several ranges, which a server may answer with the whole
 */
export function parseRange(header: string, size: number): ByteRange | 'unsatisfiable' | undefined {
  const match = ONE_RANGE.exec(header);
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  // Beyond 2^53 digits are rounded, and some 308 of them make Infinity. Rounding keeps the order, and no size gets
  // there, so that the comparisons below stay right; only `last < first` can go unnoticed, where 416 is as good an answer.
  if (first === '') return last === '' ? undefined : suffixRange(Number(last), size);
  const start = Number(first);
  const end = last === '' ? size : Number(last) + 1;
  if (last !== '' && Number(last) < start) return undefined;
  return start < size ? { start, end: Math.min(end, size) } : 'unsatisfiable';
}

function suffixRange(length: number, size: number): ByteRange | 'unsatisfiable' | undefined {
  if (length === 0) return 'unsatisfiable';
  // Of an empty representation any suffix is satisfiable (14.1.2), but no Content-Range can say so: it is sent whole.
  if (size === 0) return undefined;
  return { start: Math.max(0, size - length), end: size };
}
