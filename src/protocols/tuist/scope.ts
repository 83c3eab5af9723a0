import { HotblobError } from '../../contract/errors.js';

/**
 * Owner of artifacts: `tenant/namespace`, each percent-encoded. Prefix of every key, and the namespace that access
 * policies receive.
 */
export type Scope = string;

/** Names of the query parameters, followed by those that older clients send. */
const TENANT = ['tenant_id', 'account_handle'] as const;
const NAMESPACE = ['namespace_id', 'project_handle'] as const;

/**
 * Returns the scope in a query.
 *
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` if the tenant or the namespace is missing, `ERR_HOTBLOB_INVALID_KEY`
 *   if one is not a valid name
 */
export function scopeOf(query: URLSearchParams): Scope {
  return `${encodeName(parameter(query, ...TENANT))}/${encodeName(parameter(query, ...NAMESPACE))}`;
}

/** Whether a query contains a parameter of a scope, valid or not. */
export function hasScope(query: URLSearchParams): boolean {
  return [...TENANT, ...NAMESPACE].some((name) => query.has(name));
}

/**
 * Returns the query parameter with the first of `names` that is present.
 *
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` if the parameter is missing or empty
 */
export function parameter(query: URLSearchParams, ...names: readonly string[]): string {
  const name = names.find((each) => query.has(each));
  const value = name === undefined ? null : query.get(name);
  if (value) return value;
  throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', `${name ?? names[0]}: expected a non-empty query parameter`);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: file systems reject NUL
const UNSAFE = /[/\\\u0000]|^\.{0,2}$/;

/**
 * Encodes a name as one segment of a key. Characters outside ASCII are percent-encoded, because a file system may
 * normalize different names to the same one.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` if the name is empty, `.` or `..`, contains a slash, a backslash or
 *   NUL, or is not valid Unicode
 */
export function encodeName(name: string): string {
  if (UNSAFE.test(name)) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'name: expected text without slashes, other than "." and ".."');
  }
  try {
    return encodeURIComponent(name);
  } catch (cause) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'name: expected valid Unicode', { cause });
  }
}
