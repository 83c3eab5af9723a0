/** Matches the name of a header field: a token (RFC 9110, section 5.6.2). */
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/**
 * Matches the value of a header field (RFC 9110, section 5.5): it starts and ends with a visible character, and
 * contains no control character except the tab.
 */
const FIELD_VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;

/** Returns whether `name` is a valid name of a header field. */
export function isFieldName(name: string): boolean {
  return FIELD_NAME.test(name);
}

/** Returns whether `value` is a valid value of a header field. */
export function isFieldValue(value: unknown): value is string {
  return typeof value === 'string' && FIELD_VALUE.test(value);
}

/**
 * Cache-Control of an artifact that has none: a cache may keep it, but asks before each use whether it is current, which costs
 * a 304. Without a policy, proxies keep artifacts for hours because of a suffix such as `.zip`, and a key can be stored again.
 */
export const DEFAULT_CACHE_CONTROL = 'no-cache, no-transform';
