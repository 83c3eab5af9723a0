import { HotblobError } from '../contract/errors.js';
import { assertOptions, type OptionCheck } from '../contract/validation.js';

/** Option of all protocols of build tools. */
export interface PathOptions {
  /**
   * Path of the protocol below the mount path of the handler: `''`, or segments such as `/gradle` without a trailing
   * slash. If `path` is not empty, a request below it with an invalid key is answered with an error. If `path` is `''`,
   * a request with an invalid key is passed to the next protocol.
   */
  readonly path?: string | undefined;
}

export const PATH: OptionCheck = {
  expected: "'' or a path such as '/gradle' without a trailing slash",
  accepts: (value) => typeof value === 'string' && /^(?:\/[\w.~-]+)*$/.test(value),
};

/**
 * Returns the path in `options`, or the default.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid `path` or an unknown option
 */
export function pathOf(options: PathOptions, defaultPath: string): string {
  assertOptions(options, { path: PATH });
  return options.path ?? defaultPath;
}

/**
 * Returns the rest of `path` after `prefix` and a slash, or `undefined` if the path is not below the prefix. Accepts
 * two slashes, because most tools append a slash and the key to a base URL that may already end with one.
 */
export function pathBelow(path: string, prefix: string): string | undefined {
  if (!path.startsWith(prefix) || path[prefix.length] !== '/') return undefined;
  const start = prefix.length + 1;
  return path.slice(path[start] === '/' ? start + 1 : start);
}

/**
 * Returns the key: the rest of `path` after `prefix` and a slash. Returns `undefined` if the path is not below the
 * prefix. If the prefix is empty, also returns `undefined` for an invalid key.
 *
 * @param pattern matches a valid key
 * @param expected description of a valid key, for the error
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` if the key is invalid and the prefix is not empty
 */
export function keyBelow(path: string, prefix: string, pattern: RegExp, expected: string): string | undefined {
  const key = pathBelow(path, prefix);
  if (key === undefined || pattern.test(key)) return key;
  if (prefix === '') return undefined;
  throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', `path: expected ${expected}`);
}

/** Matches text that may stand for different bytes: URLSearchParams replaces invalid UTF-8 with U+FFFD. */
const NOT_UNIQUE = /[\uFFFD\p{Surrogate}]/u;

/**
 * Encodes free text as one segment of a key. Different texts have different segments, and no segment is empty, `.` or
 * `..`. Texts of letters and digits are unchanged; all others contain `%`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` for text with U+FFFD or a lone surrogate
 */
export function keySegment(text: string): string {
  if (text === '') return '%';
  if (NOT_UNIQUE.test(text)) throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'key: expected valid UTF-8');
  return encodeURIComponent(text).replace(/[.!'()*~]/g, hexOf);
}

function hexOf(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
}

/** Namespace that a path names, and the prefix of its keys. */
export interface NamespacePrefix {
  readonly namespace: string | undefined;
  /** Empty without a namespace. It ends with a slash. */
  readonly prefix: string;
}

/**
 * Returns the namespace that the encoded segments of a path are, and the prefix of its keys. Without segments there is no
 * namespace.
 *
 * @param folder first segment of the prefix, which no key without a namespace has
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` if a segment is empty, `.` or `..`, or not percent-encoded UTF-8
 */
export function namespaceOf(segments: readonly string[], folder: string): NamespacePrefix {
  if (segments.length === 0) return { namespace: undefined, prefix: '' };
  if (segments.includes('')) throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'path: expected no empty segment');
  const names = segments.map(decodePath);
  // Clients resolve such segments. If one of them arrives, the request was written by hand.
  if (names.some((name) => name === '.' || name === '..')) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', "path: expected no segment '.' or '..'");
  }
  const namespace = names.join('/');
  return { namespace, prefix: `${folder}/${keySegment(namespace)}/` };
}

const ENCODED_SEPARATOR = /%2f|%5c/i;
/**
 * Matches a character that must be percent-encoded in a path (RFC 3986, section 2). node:http rejects a path with such
 * a character, node:http2 does not always.
 */
const UNENCODED = /[^\x21-\x7e]/;

/**
 * Decodes a percent-encoded path or segment.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` if the path is not percent-encoded UTF-8, and if it contains an
 *   encoded slash or backslash, because decoding would make it a separator
 */
export function decodePath(encoded: string): string {
  if (UNENCODED.test(encoded))
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'path: expected percent-encoded UTF-8');
  if (!encoded.includes('%')) return encoded;
  if (ENCODED_SEPARATOR.test(encoded)) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'path: expected no encoded slash or backslash');
  }
  try {
    return decodeURIComponent(encoded);
  } catch (cause) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'path: expected percent-encoded UTF-8', { cause });
  }
}
