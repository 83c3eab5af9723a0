import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, lstat, realpath, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, resolve } from 'node:path';
import type { OidcFilePolicy } from '../../access/oidc/oidc-file.js';
import { errnoCode } from '../../contract/errors.js';
import { assertDirectoryWritable } from '../../stores/directory/open-directory.js';
import { directoryStore } from '../../stores/directory/store.js';
import { checkLayout, isSegmentStore } from '../../stores/segments/layout.js';
import { segmentStore } from '../../stores/segments/store.js';
import { WriterLock } from '../../stores/segments/writer-lock.js';
import { assertWritable } from '../../stores/tiered/spool.js';
import { upstreamStore } from '../../stores/upstream/store.js';
import { messageOf } from '../../util/report-event.js';
import { CertificateFiles } from '../serve/certificate-files.js';
import { listenError } from '../serve/listen-error.js';
import { nameOption } from '../serve/name-option.js';
import { type AccessFiles, openAccess } from '../serve/open-access.js';
import { detectKind, hasLmdb, readOnlyReasonOf } from '../serve/open-store.js';
import type { ServeOptions } from '../serve/serve.js';
import { startWarnings } from '../serve/start-warnings.js';

/** What `hotblob serve` would report with the same options. */
export interface ServeDiagnosis {
  /** Reasons why the server would not start. */
  readonly problems: readonly string[];
  /** What the server would start with, although it is probably not intended. */
  readonly warnings: readonly string[];
}

/** Options of `hotblob serve`, and the names of those that were given. The others have their default. */
export interface ServeCheck {
  readonly options: ServeOptions;
  readonly given: ReadonlySet<string>;
}

type Warn = (line: string) => void;

/**
 * Checks whether `hotblob serve` would start with these options: access files, certificate, address, directories and upstream. Opens
 * the port for a moment, and leaves no changes behind. Never rejects.
 *
 * A default port or directory that another process uses is only a warning: `doctor` also runs beside the server.
 */
export async function checkServe(check: ServeCheck): Promise<ServeDiagnosis> {
  const { options } = check;
  const problems: string[] = [];
  const warnings: string[] = [];
  const warn = (line: string): void => void warnings.push(line);
  const attempt = async <T>(check: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await check();
    } catch (error) {
      problems.push(messageOf(nameOption(error)));
      return undefined;
    }
  };
  const { tls, access } = options;
  const oidc = access && (await attempt(() => checkAccessFiles(access, warn)));
  const certificate = tls && (await attempt(() => new CertificateFiles(tls).load()));
  warnings.push(...(await startWarnings(options, certificate, oidc)));
  await attempt(() => checkDirectory(check, warn));
  await attempt(() => checkAddress(check, warn));
  await attempt(() => checkUpstream(options, warn));
  return { problems, warnings };
}

/**
 * Resolves to the policy of the file of `--oidc`, if any.
 *
 * @throws CommandError if a file cannot be used
 */
async function checkAccessFiles(files: AccessFiles, warn: Warn): Promise<OidcFilePolicy | undefined> {
  if (files.tokens !== undefined || files.tokenLines !== undefined) {
    await openAccess({ ...files, oidc: undefined }, (line) => warn(`--tokens: ${line}`));
  }
  if (files.oidc === undefined) return undefined;
  const { oidc } = await openAccess({ ...files, tokens: undefined, tokenLines: undefined }, (line) =>
    warn(`--oidc: ${line}`),
  );
  // A problem is a warning: the server starts, and fetches the keys when they are needed.
  await oidc?.reload();
  return oidc;
}

async function checkAddress({ options: { host, port }, given }: ServeCheck, warn: Warn): Promise<void> {
  const server = createServer();
  try {
    await once(server.listen({ host, port }), 'listening');
  } catch (error) {
    if (errnoCode(error) !== 'EADDRINUSE' || given.has('port')) throw listenError(error, { host, port });
    warn(
      `--port: a process, perhaps a server, listens on port ${port} of ${host}; another server needs another --port`,
    );
  } finally {
    server.close();
  }
}

/** @throws an error that names the option, if the server could not open its store */
async function checkDirectory({ options }: ServeCheck, warn: Warn): Promise<void> {
  const { dir, immutable, verifyReads } = options;
  const stats = await stat(dir).catch((error: unknown) => {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw new Error(`--dir: ${messageOf(error)}`);
  });
  if (stats !== undefined && !stats.isDirectory()) throw new Error(`--dir: ${dir} is not a directory`);
  const kind = options.kind ?? (await detectKind(dir, immutable));
  if (stats === undefined) {
    const parent = await existingParent(resolve(dir));
    if (!(await isAllowed(parent, constants.W_OK | constants.X_OK))) {
      throw new Error(`--dir: ${dir} does not exist, and this user may not create it in ${parent}`);
    }
  } else {
    if (!(await isAllowed(dir, constants.R_OK | constants.X_OK))) {
      throw new Error(`--dir: this user may not read ${dir}; change its owner, or run the server as its owner`);
    }
    if (kind === 'directory') {
      await (await directoryStore(dir, { readOnly: true })).close();
      await assertDirectoryWritable(await realpath(dir)).catch((error) => warnOfReadOnly(error, options, warn));
    }
    if ((await lstat(dir)).isSymbolicLink()) warn(`--dir: ${dir} is a symbolic link to ${await realpath(dir)}`);
  }
  if (kind !== 'segments') {
    if (verifyReads) {
      throw new Error('--verify-reads requires a segment store; add --store segments, with a new --dir');
    }
    return;
  }
  if (!hasLmdb()) {
    throw new Error(
      '--store: segments require lmdb, which cannot be loaded; run npm install lmdb, or use --store directory',
    );
  }
  if (stats === undefined) return;
  const isStore = await isSegmentStore(dir);
  try {
    await checkLayout(dir);
    await WriterLock.assertFree(await realpath(dir));
  } catch (error) {
    if (!isStore) throw error;
    warnOfReadOnly(error, options, warn);
  }
  if (isStore) await (await segmentStore(dir, { readOnly: true })).close();
}

/** @throws `error`, unless the server would serve its store read-only because of it */
function warnOfReadOnly(error: unknown, { dir, upstream }: ServeOptions, warn: Warn): void {
  const reason = upstream === undefined ? readOnlyReasonOf(error) : undefined;
  if (reason === undefined) throw error;
  warn(`--dir: ${dir} is served read-only, uploads are refused: ${reason}`);
}

async function checkUpstream({ upstream }: ServeOptions, warn: Warn): Promise<void> {
  if (upstream === undefined) return;
  const { url, token, spoolDir } = upstream;
  const store = upstreamStore(url, { token });
  try {
    await store.get('hotblob-doctor');
  } catch (error) {
    warn(`--upstream: ${messageOf(error)}; the server starts, and lookups there are misses`);
  } finally {
    await store.close();
  }
  if (spoolDir !== undefined) await assertWritable(spoolDir);
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
