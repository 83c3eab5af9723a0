import { readdir } from 'node:fs/promises';
import type { OidcFilePolicy } from '../../access/oidc/oidc-file.js';
import { LOST_AND_FOUND, RESERVED_NAME } from '../../stores/directory/paths.js';
import { countTasks } from '../../stores/tiered/replication-queue.js';
import { formatCountOf } from '../../util/units.js';
import { type Certificate, expiryWarning } from './certificate.js';
import { isLoopbackHost } from './describe-access.js';
import { detectKind, queueDirectoryOf } from './open-store.js';
import type { ServeOptions } from './serve.js';

/** Value of `--max-size` below which a unit is probably missing. */
const MIN_SENSIBLE_BYTES = 1024 * 1024;

/** Resolves to a line for each option whose value is valid but probably not intended. Called before the store is opened. */
export async function startWarnings(
  options: ServeOptions,
  certificate: Certificate | undefined,
  oidc?: Pick<OidcFilePolicy, 'usesCertificates'>,
): Promise<string[]> {
  const { host, maxBytes, tls } = options;
  const warnings: string[] = [];
  if (maxBytes !== undefined && maxBytes < MIN_SENSIBLE_BYTES) {
    warnings.push(`--max-size: the cache holds only ${formatCountOf(maxBytes, 'byte')} (did you mean ${maxBytes}GiB?)`);
  }
  if (process.pid === 1 && isLoopbackHost(host)) {
    warnings.push(`--host: only this container can connect to ${host}; to publish the port, use --host 0.0.0.0`);
  }
  const foreign = await foreignFilesWarning(options);
  if (foreign !== undefined) warnings.push(foreign);
  const forgotten = await forgottenTasksWarning(options);
  if (forgotten !== undefined) warnings.push(forgotten);
  const expiry = tls && certificate && expiryWarning(tls, certificate);
  if (expiry !== undefined) warnings.push(expiry);
  if (options.upstream === undefined && process.env['HOTBLOB_UPSTREAM_TOKEN']) {
    warnings.push('HOTBLOB_UPSTREAM_TOKEN is ignored: it is for --upstream, which is not given');
  }
  const unused = unusedCertificatesWarning(options, oidc?.usesCertificates === true);
  if (unused !== undefined) warnings.push(unused);
  return warnings;
}

function unusedCertificatesWarning({ tls }: ServeOptions, areUsed: boolean): string | undefined {
  if (areUsed === (tls?.clientCa !== undefined)) return undefined;
  return areUsed
    ? '--oidc: rules with certificate match no client; to request certificates of clients, use --tls-client-ca FILE'
    : '--tls-client-ca: certificates of clients grant no access; add rules with certificate to the file of --oidc';
}

/** Returns a line about a directory with files in which no store has worked yet, such as a project. */
async function foreignFilesWarning({ dir, kind, immutable, maxBytes }: ServeOptions): Promise<string | undefined> {
  const names = await readdir(dir).catch((): string[] => []); // an error is reported when the store is opened
  if (names.every((name) => name === LOST_AND_FOUND) || names.includes(RESERVED_NAME)) return undefined;
  if ((kind ?? (await detectKind(dir, immutable))) !== 'directory') return undefined;
  const eviction = maxBytes === undefined ? '' : ', and --max-size deletes the least recently used ones';
  return `--dir: ${dir} already contains files: clients can read and replace them${eviction}; for a cache of its own, use a new directory`;
}

/** Returns a line about uploads and deletions that an earlier server has queued, if this server does not send them. */
async function forgottenTasksWarning({ dir, upstream }: ServeOptions): Promise<string | undefined> {
  if (upstream?.mode === 'write-back') return undefined;
  const queue = queueDirectoryOf(dir);
  const count = await countTasks(queue);
  if (count === 0) return undefined;
  return `--upstream-mode: the upstream has not received ${formatCountOf(count, 'queued change')} in ${queue}; to send them, use write-back again, otherwise delete this directory`;
}
