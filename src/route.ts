import { HotblobError } from './errors.js';
import { assertKey } from './store.js';

const ENCODED_SEPARATOR = /%2f|%5c/i;

/**
 * The key that a request is about: its path below `mountPath` (`''` or `/a/b`, no slash at the end), decoded. Undefined
 * for a path outside.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` or `ERR_HOTBLOB_KEY_TOO_LONG`
 */
export function keyOf(url: string, mountPath: string): string | undefined {
  // The absolute form that proxies send is to be accepted by every server (RFC 9112, 3.2.2).
  const target = url.startsWith('/') ? url : absolutePath(url);
  if (target === undefined) return undefined;
  if (!target.startsWith(mountPath) || target.charCodeAt(mountPath.length) !== SLASH) return undefined;
  const query = target.indexOf('?');
  const encoded = target.slice(mountPath.length + 1, query === -1 ? undefined : query);
  const key = encoded.includes('%') ? decode(encoded) : encoded;
  assertKey(key);
  return key;
}

const SLASH = 47;

function absolutePath(url: string): string | undefined {
  const match = /^https?:\/\/[^/?#]*(\/[^#]*)?/i.exec(url);
  return match === null ? undefined : (match[1] ?? '/');
}

function decode(encoded: string): string {
  // Once decoded, nobody could tell it from a separator.
  if (ENCODED_SEPARATOR.test(encoded))
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a key has no encoded slashes');
  try {
    return decodeURIComponent(encoded);
  } catch (cause) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a key is percent-encoded UTF-8', { cause });
  }
}
