import type { ByteRange } from '../contract/artifact.js';

// Matches a header with one range. Whitespace and empty list elements may surround the range (RFC 9110, section
// 5.6.1.2). Adjacent parts of the expression match different characters, so matching takes linear time.
const ONE_RANGE = /^bytes=[ \t,]*(\d*)-(\d*)[ \t,]*$/i;

/**
 * Parses a Range header for a representation of `size` bytes (RFC 9110, sections 14.1.2 and 14.2).
 *
 * @returns the range, limited to the size; `'unsatisfiable'` for a valid range that contains no byte of the
 *   representation; `undefined` if the header is to be ignored, because it is malformed, has another unit or has
 *   several ranges, or because the representation is empty
 */
export function parseRange(header: string, size: number): ByteRange | 'unsatisfiable' | undefined {
  // No Content-Range can express an empty range. A proxy that requests a file in slices begins with a range of its own, and
  // the client would get 416 for an empty file. A server may ignore Range (section 14.2).
  if (size === 0) return undefined;
  const match = ONE_RANGE.exec(header);
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  // JavaScript rounds numbers above 2^53 and turns numbers of about 308 digits into Infinity. Rounding keeps the order,
  // and no size is that large, so the comparisons below are correct. Only `last < first` can be missed. The response is
  // then 416, which is allowed.
  if (first === '') return last === '' ? undefined : suffixRange(Number(last), size);
  const start = Number(first);
  const end = last === '' ? size : Number(last) + 1;
  if (last !== '' && Number(last) < start) return undefined;
  return start < size ? { start, end: Math.min(end, size) } : 'unsatisfiable';
}

function suffixRange(length: number, size: number): ByteRange | 'unsatisfiable' | undefined {
  if (length === 0) return 'unsatisfiable';
  return { start: Math.max(0, size - length), end: size };
}
