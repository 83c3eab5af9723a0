import { HotblobError } from '../contract/errors.js';
import { assertOptions, type OptionCheck } from '../contract/validation.js';

/** What every protocol of a tool takes. */
export interface PathOptions {
  /**
   * Where its routes begin, below the handler's mount path: `''`, or segments such as `/gradle`, without a slash at the end.
   * Below segments everything is this protocol's, and what is none of its keys is an error; at `''` that is left to the
   * protocols that are asked next.
   */
  readonly path?: string | undefined;
}

export const PATH: OptionCheck = {
  expected: "'', or a path such as '/gradle' without a slash at the end",
  accepts: (value) => typeof value === 'string' && /^(?:\/[\w.~-]+)*$/.test(value),
};

/**
 * The path that options name.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function pathFrom(options: PathOptions, byDefault: string): string {
  assertOptions(options, { path: PATH });
  return options.path ?? byDefault;
}

/**
 * What stands behind `prefix` and a slash; undefined where the path begins with something else. The slash may be two: most
 * tools put one behind a base URL, whether or not it ends with one.
 */
export function below(path: string, prefix: string): string | undefined {
  if (!path.startsWith(prefix) || path[prefix.length] !== '/') return undefined;
  const start = prefix.length + 1;
  return path.slice(path[start] === '/' ? start + 1 : start);
}

/**
 * The key of a tool whose keys stand directly behind `prefix`. Undefined for a path elsewhere and, where the prefix is
 * empty, for what is none of its `keys`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` for what is none of them otherwise
 */
export function keyBelow(path: string, prefix: string, keys: RegExp, expected: string): string | undefined {
  const key = below(path, prefix);
  if (key === undefined || keys.test(key)) return key;
  if (prefix === '') return undefined;
  throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', `expected ${expected}`);
}

/** U+FFFD stands where a query had bytes that are no UTF-8, whichever they were. */
const UNREADABLE = /[\uFFFD\p{Surrogate}]/u;

/**
 * Free text as one segment of a key: no two texts give the same, whatever is in them, and none gives `.`, `..` or nothing.
 * It has `%`, so that texts of letters and digits stay readable and all others differ from them.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` for what was no text
 */
export function keySegment(text: string): string {
  if (text === '') return '%';
  if (UNREADABLE.test(text)) throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a part of a key is UTF-8');
  return encodeURIComponent(text).replace(/[.!'()*~]/g, hexOf);
}

function hexOf(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
}

const ENCODED_SEPARATOR = /%2f|%5c/i;
/** What a path cannot hold as it is (RFC 3986, 2): node:http refuses all of that, node:http2 only some. */
const UNENCODED = /[^\x21-\x7e]/;

/**
 * A path, or a segment of one, as the client means it.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` for what is no percent-encoded UTF-8, and for encoded separators: once
 * decoded, nobody could tell them from real ones
 */
export function decodePath(encoded: string): string {
  if (UNENCODED.test(encoded)) throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a key is percent-encoded');
  if (!encoded.includes('%')) return encoded;
  if (ENCODED_SEPARATOR.test(encoded)) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a key has no encoded slashes');
  }
  try {
    return decodeURIComponent(encoded);
  } catch (cause) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a key is percent-encoded UTF-8', { cause });
  }
}
