import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, lstat, realpath, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, resolve } from 'node:path';
import { errnoCode } from '../../contract/errors.js';
import { segmentStore } from '../../stores/segments/store.js';
import { upstreamStore } from '../../stores/upstream/store.js';
import { messageOf } from '../../util/report-event.js';
import { CertificateFiles } from '../serve/certificate-files.js';
import { listenError } from '../serve/listen-error.js';
import { detectKind, hasLmdb, type StoreKind } from '../serve/open-store.js';
import { openTokens, type ServeOptions } from '../serve/serve.js';
import { startWarnings } from '../serve/start-warnings.js';

/** What `hotblob serve` would report with the same options. */
export interface ServeDiagnosis {
  /** Reasons why the server would not start. */
  readonly problems: readonly string[];
  /** What the server would start with, although it is probably not intended. */
  readonly warnings: readonly string[];
}

/**
 * Checks whether `hotblob serve` would start with these options: token file, certificate, address, directory and upstream. Opens the
 * port for a moment, and leaves no changes behind. Never rejects.
 */
export async function checkServe(options: ServeOptions): Promise<ServeDiagnosis> {
  const problems: string[] = [];
  const warnings: string[] = [];
  const warn = (line: string): void => void warnings.push(line);
  const attempt = async <T>(check: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await check();
    } catch (error) {
      problems.push(messageOf(error));
      return undefined;
    }
  };
  const { tls, access: tokens } = options;
  if (tokens !== undefined) await attempt(() => openTokens(tokens, (line) => warn(`--tokens: ${line}`)));
  const certificate = tls && (await attempt(() => new CertificateFiles(tls).load()));
  warnings.push(...(await startWarnings(options, certificate)));
  await attempt(() => checkDirectory(options, warn));
  await attempt(() => checkAddress(options));
  await checkUpstream(options, warn);
  return { problems, warnings };
}

async function checkAddress({ host, port }: ServeOptions): Promise<void> {
  const server = createServer();
  try {
    await once(server.listen({ host, port }), 'listening');
  } catch (error) {
    throw listenError(error, { host, port });
  } finally {
    server.close();
  }
}

/** @throws an error with a sentence that names the option, if the server could not open its store */
async function checkDirectory(options: ServeOptions, warn: (line: string) => void): Promise<void> {
  const { dir, immutable } = options;
  const stats = await stat(dir).catch((error: unknown) => {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw new Error(`--dir: ${messageOf(error)}`);
  });
  if (stats !== undefined && !stats.isDirectory()) throw new Error(`--dir: ${dir} is not a directory`);
  if (stats === undefined) {
    const parent = await existingParent(resolve(dir));
    if (!(await isAllowed(parent, constants.W_OK | constants.X_OK))) {
      throw new Error(`--dir: ${dir} does not exist, and this user may not create it in ${parent}`);
    }
  } else {
    if (!(await isAllowed(dir, constants.R_OK | constants.X_OK))) {
      throw new Error(`--dir: this user may not read ${dir}; change its owner, or run the server as its owner`);
    }
    if (!(await isAllowed(dir, constants.W_OK))) {
      warn(`--dir: this user may not write to ${dir} (or its file system is read-only): uploads cannot be stored`);
    }
    if ((await lstat(dir)).isSymbolicLink()) warn(`--dir: ${dir} is a symbolic link to ${await realpath(dir)}`);
  }
  await checkKind(options, await detectKind(dir, immutable));
}

async function checkKind({ dir, kind, verifyReads }: ServeOptions, found: StoreKind): Promise<void> {
  const used = kind ?? found;
  if (used === 'directory') {
    if (verifyReads) throw new Error('--verify-reads requires a segment store; add --store segments, with a new --dir');
    return;
  }
  if (!hasLmdb()) {
    throw new Error(
      '--store: segments require lmdb, which cannot be loaded; run npm install lmdb, or use --store directory',
    );
  }
  if (found !== 'segments') return;
  const exists = await stat(dir).then(
    () => true,
    () => false,
  );
  if (!exists) return;
  try {
    await (await segmentStore(dir, { readOnly: true })).close();
  } catch (error) {
    // A new or empty directory contains no segment store yet.
    if (errnoCode(error) !== 'ERR_HOTBLOB_INVALID_OPTION') throw error;
  }
}

async function checkUpstream({ upstream }: ServeOptions, warn: (line: string) => void): Promise<void> {
  if (upstream === undefined) return;
  const store = upstreamStore(upstream.url, { token: upstream.token });
  try {
    await store.get('hotblob-doctor');
  } catch (error) {
    warn(`--upstream: ${messageOf(error)}; the server starts, and lookups there are misses`);
  } finally {
    await store.close();
  }
}

async function existingParent(path: string): Promise<string> {
  const parent = dirname(path);
  const exists = await stat(parent).then(
    () => true,
    () => false,
  );
  return exists || parent === path ? parent : existingParent(parent);
}

function isAllowed(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}
