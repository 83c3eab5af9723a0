import { isLoopbackAddress } from '../../access/hosts.js';
import type { OidcFilePolicy } from '../../access/oidc/oidc-file.js';
import { type AccessFiles, TOKENS_VARIABLE } from './open-access.js';

/** Options that decide who may read and write. */
export interface AccessOptions {
  readonly host: string;
  readonly writable: boolean;
  /** Files that decide who may use the cache. `undefined`: no authentication. */
  readonly access: AccessFiles | undefined;
  readonly allowedHosts?: readonly string[] | undefined;
}

/** Whether only programs on this machine can connect to `host`. */
export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || isLoopbackAddress(host);
}

/** Whether every client on the network has read access. */
export function isOpenToAll({ access, host }: AccessOptions): boolean {
  return access === undefined ? !isLoopbackHost(host) : (access.anonymous ?? 'none') !== 'none';
}

/** What the server has found out from the options. */
export interface AccessFindings {
  /** Reason for which no client may write, although the options allow it. */
  readonly readOnlyReason?: string | undefined;
  /** Policy of the file of `--oidc`. */
  readonly oidc?: Pick<OidcFilePolicy, 'issuers' | 'usesCertificates'> | undefined;
}

/** Returns one line that says who may read and write, and why. */
export function describeAccess(options: AccessOptions, { readOnlyReason, oidc }: AccessFindings = {}): string {
  const { host, writable, access, allowedHosts } = options;
  if (readOnlyReason !== undefined) return `access: read-only for ${readersOf(options)}: ${readOnlyReason}`;
  if (access !== undefined) {
    const { anonymous = 'none' } = access;
    const others = { none: 'no access', read: 'read access', write: 'read and write access' };
    const known = oidc?.usesCertificates ? 'a valid token or certificate' : oidc ? 'a valid token' : 'a token';
    return `access: by ${sourcesOf(access, oidc)}; ${others[anonymous]} without ${known} (--anonymous ${anonymous})`;
  }
  if (isLoopbackHost(host)) {
    const proxy = allowedHosts === undefined ? 'a proxy on it' : 'a proxy on it (--allow-host)';
    return `access: read and write for every program on this machine (no --tokens; ${host} is a loopback address), and for every client of ${proxy}`;
  }
  return writable
    ? 'access: read and write for every client (--writable, no --tokens or --oidc)'
    : `access: read-only for every client (no --tokens; ${host} is not a loopback address); to accept uploads, use --tokens FILE, --oidc FILE or --writable`;
}

function sourcesOf({ tokens, tokenLines, oidc: file }: AccessFiles, oidc: AccessFindings['oidc']): string {
  const sources = [...(oidc?.issuers ?? []), ...(oidc?.usesCertificates ? ['client certificates'] : [])];
  return [
    ...(tokens === undefined ? [] : [`the tokens in ${tokens}`]),
    ...(tokenLines === undefined ? [] : [`the tokens in ${TOKENS_VARIABLE}`]),
    ...(file === undefined ? [] : [`the rules in ${file} for ${sources.join(', ')}`]),
  ].join(' and ');
}

function readersOf({ host, access }: AccessOptions): string {
  if (access !== undefined && access.anonymous === undefined) {
    const lines = access.tokenLines && TOKENS_VARIABLE;
    const files = [access.tokens, lines, access.oidc].filter((file) => file !== undefined);
    return `clients with access by ${files.join(' and ')}`;
  }
  return access === undefined && isLoopbackHost(host) ? 'every program on this machine' : 'every client';
}
