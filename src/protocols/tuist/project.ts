import { HotblobError } from '../../contract/errors.js';

/**
 * Owner of artifacts: `tenant/namespace`, each percent-encoded. It is the prefix of every key, and the namespace that
 * access policies receive.
 */
export type Project = string;

/** Query parameters of the tenant and the namespace. Of each pair, older clients send the second name. */
const TENANT = ['tenant_id', 'account_handle'] as const;
const NAMESPACE = ['namespace_id', 'project_handle'] as const;

/**
 * Returns the project in a query.
 *
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` if the tenant or the namespace is missing, `ERR_HOTBLOB_INVALID_KEY`
 *   if one of them is not a valid name
 */
export function projectOf(query: URLSearchParams): Project {
  return `${encodeName(parameter(query, ...TENANT))}/${encodeName(parameter(query, ...NAMESPACE))}`;
}

/** Returns whether a query has a parameter for the tenant or the namespace, valid or not. */
export function hasProject(query: URLSearchParams): boolean {
  return [...TENANT, ...NAMESPACE].some((name) => query.has(name));
}

/**
 * Returns the value of a query parameter that has one of several names. The first name that is present counts.
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
    throw new HotblobError(
      'ERR_HOTBLOB_INVALID_KEY',
      'name: expected text without slash, backslash or NUL that is not empty, "." or ".."',
    );
  }
  try {
    return encodeURIComponent(name);
  } catch (cause) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'name: expected valid Unicode', { cause });
  }
}
