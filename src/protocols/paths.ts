import { HotblobError } from '../errors.js';
import { assertOptions, type OptionCheck } from '../validation.js';

/** What every protocol of a tool takes. */
export interface PathOptions {
  /** Where its routes begin, below the handler's mount path: `''`, or segments such as `/gradle`, without a slash at the end. */
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

/** What stands behind `prefix` and a slash; undefined where the path begins with something else. */
export function below(path: string, prefix: string): string | undefined {
  return path.startsWith(prefix) && path[prefix.length] === '/' ? path.slice(prefix.length + 1) : undefined;
}

/**
 * Free text as one segment of a key: no two texts give the same, whatever is in them, and none gives `.`, `..` or nothing.
 * It has `%`, so that texts of letters and digits stay readable and all others differ from them.
 */
export function keySegment(text: string): string {
  if (text === '') return '%';
  return encodeURIComponent(text).replace(/[.!'()*~]/g, hexOf);
}

function hexOf(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
}

const ENCODED_SEPARATOR = /%2f|%5c/i;

/**
 * A path, or a segment of one, as the client means it.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` for what is no percent-encoded UTF-8, and for encoded separators: once
 * decoded, nobody could tell them from real ones
 */
export function decodePath(encoded: string): string {
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
