import type { OptionCheck } from '../contract/validation.js';

/** Scope of artifacts whose writer has no scope of its own. Its keys in the store have no prefix. */
export const DEFAULT_SCOPE = 'default';

/** First segment of the keys of all other scopes, with a slash. No protocol accepts a key that begins with it. */
export const SCOPES_PREFIX = '.scopes/';

/** Maximum length of a scope in its encoded form, in bytes. With it, the scope is a valid name of a directory. */
export const MAX_ENCODED_BYTES = 240;

const SCOPE = /^[\w.~%+:@=-]+(?:\/[\w.~%+:@=-]+)*$/;
const DOT_SEGMENT = /(?:^|\/)\.{1,2}(?:\/|$)/;

/** Check of the name of a scope. */
export const SCOPE_NAME: OptionCheck = {
  expected: `the name of a scope: segments of letters, digits and -._~%+:@= joined by "/", none of them "." or "..", at most ${MAX_ENCODED_BYTES} bytes in its encoded form`,
  accepts: (value) => typeof value === 'string' && isScope(value),
};

/** Returns whether `name` is a valid name of a scope. */
export function isScope(name: string): boolean {
  // The encoded form is not shorter than the name.
  if (name.length > MAX_ENCODED_BYTES || !SCOPE.test(name) || DOT_SEGMENT.test(name)) return false;
  return encodeScope(name).length <= MAX_ENCODED_BYTES;
}

/** Returns the number of bytes that a part of a scope has in the encoded form of the scope. */
export function encodedBytes(text: string): number {
  return encodeScope(text).length;
}

/** Returns the prefix of the keys of a scope in the store; an empty string for the default scope. */
export function scopePrefix(scope: string): string {
  return scope === DEFAULT_SCOPE ? '' : `${SCOPES_PREFIX}${encodeScope(scope)}/`;
}

/** Key in a store, divided into its scope and the rest. */
export interface ScopedKey {
  readonly scope: string;
  /** Key within the scope: the prefix of the protocol, and the protocol's key. */
  readonly key: string;
}

/**
 * Divides a key of a store into its scope and the key within the scope. A key that {@link scopePrefix} cannot have
 * made belongs to the default scope.
 */
export function splitScope(storeKey: string): ScopedKey {
  if (storeKey.startsWith(SCOPES_PREFIX)) {
    const slash = storeKey.indexOf('/', SCOPES_PREFIX.length);
    const scope = slash === -1 ? undefined : decodeScope(storeKey.slice(SCOPES_PREFIX.length, slash));
    const key = storeKey.slice(slash + 1);
    if (scope !== undefined && key !== '') return { scope, key };
  }
  return { scope: DEFAULT_SCOPE, key: storeKey };
}

/**
 * Returns the scope as one segment of a key, reversibly. The result contains no upper-case letter and only ASCII, so
 * two scopes never share a directory on a file system that ignores case or normalizes Unicode.
 */
function encodeScope(scope: string): string {
  return scope.replace(/[^a-z0-9._-]/g, (character) => `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

function decodeScope(segment: string): string | undefined {
  const scope = segment.replace(/%([0-9a-f]{2})/g, (_match, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return isScope(scope) && scope !== DEFAULT_SCOPE && encodeScope(scope) === segment ? scope : undefined;
}
