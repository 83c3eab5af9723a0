import type { AccessLevel } from '../../access/grant.js';
import { isLoopbackAddress } from '../../access/hosts.js';

/** Options that decide who may read and write. */
export interface AccessOptions {
  readonly host: string;
  readonly writable: boolean;
  /** Token file, and the access level of a request without a valid token. `undefined`: no authentication. */
  readonly access: { readonly file: string; readonly anonymous: AccessLevel | undefined } | undefined;
  readonly allowedHosts?: readonly string[] | undefined;
}

/** Whether only programs on this machine can connect to `host`. */
export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || isLoopbackAddress(host);
}

/**
 * Returns one line that says who may read and write, and why.
 *
 * @param readOnlyReason reason for which no client may write, although the options allow it
 */
export function describeAccess(options: AccessOptions, readOnlyReason?: string): string {
  const { host, writable, access, allowedHosts } = options;
  if (readOnlyReason !== undefined) return `access: read-only for ${readersOf(options)}: ${readOnlyReason}`;
  if (access !== undefined) {
    const { file, anonymous = 'none' } = access;
    const others = { none: 'no access', read: 'read access', write: 'read and write access' };
    return `access: by the tokens in ${file}; ${others[anonymous]} without a token (--anonymous ${anonymous})`;
  }
  if (isLoopbackHost(host)) {
    const proxy = allowedHosts === undefined ? 'a proxy on it' : 'a proxy on it (--allow-host)';
    return `access: read and write for every program on this machine (no --tokens; ${host} is a loopback address), and for every client of ${proxy}`;
  }
  return writable
    ? 'access: read and write for every client (--writable, no --tokens)'
    : `access: read-only for every client (no --tokens; ${host} is not a loopback address); to accept uploads, use --tokens FILE or --writable`;
}

function readersOf({ host, access }: AccessOptions): string {
  if (access !== undefined && access.anonymous === undefined) return `clients with a token in ${access.file}`;
  return access === undefined && isLoopbackHost(host) ? 'every program on this machine' : 'every client';
}
