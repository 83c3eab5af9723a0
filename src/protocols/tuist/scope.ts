import { HotblobError } from '../../contract/errors.js';

/**
 * Whose artifacts a request is about: `tenant/namespace`, each percent-encoded. It begins every key, and it is what access
 * policies see as the namespace.
 */
export type Scope = string;

/** The parameters, each with the name that older clients use. */
const TENANT = ['tenant_id', 'account_handle'] as const;
const NAMESPACE = ['namespace_id', 'project_handle'] as const;

/**
 * The scope that a query names.
 *
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` where it lacks one of the two, `ERR_HOTBLOB_INVALID_KEY`
 */
export function scopeOf(query: URLSearchParams): Scope {
  return `${keyPart(parameter(query, ...TENANT))}/${keyPart(parameter(query, ...NAMESPACE))}`;
}

/** Whether a query names a scope, or tries to. */
export function hasScope(query: URLSearchParams): boolean {
  return [...TENANT, ...NAMESPACE].some((name) => query.has(name));
}

/**
 * A parameter, under the first of its names that is there.
 *
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` where it is missing or empty
 */
export function parameter(query: URLSearchParams, ...names: readonly string[]): string {
  const name = names.find((each) => query.has(each));
  const value = name === undefined ? null : query.get(name);
  if (value) return value;
  throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', `the parameter ${names[0]} is missing`);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: NUL is among what is refused
const UNSAFE = /[/\\\u0000]|^\.{0,2}$/;

/**
 * What a client names, as one segment of a key. What is not ASCII is encoded: file systems may take two such names for one.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` for an empty one, `.` and `..`, and for slashes, backslashes and NUL
 */
export function keyPart(name: string): string {
  if (UNSAFE.test(name))
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a name has no slashes, and is not "." or ".."');
  try {
    return encodeURIComponent(name);
  } catch (cause) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a name is Unicode', { cause });
  }
}
