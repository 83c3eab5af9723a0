import { totalmem } from 'node:os';
import { hiddenOption } from '../access/hidden-options.js';
import { ALLOWED_HOSTS } from '../access/hosts.js';
import { ORIGINS } from '../access/origins.js';
import type { AccessPolicy } from '../access/policy.js';
import { assertStore } from '../contract/assert-store.js';
import { isFieldValue } from '../contract/header-fields.js';
import type { Store } from '../contract/store.js';
import {
  assertNoInstance,
  assertOptions,
  BYTES,
  countFrom,
  FLAG,
  invalidOption,
  MILLISECONDS,
  MOUNT_PATH,
  OBJECT,
  type OptionCheck,
  oneOf,
  orFunction,
} from '../contract/validation.js';
import { withNoTransform } from '../http/headers.js';
import { assertMemoryPressure, type MemoryPressureProvider, sharedMemoryPressure } from '../memory/pressure.js';
import { type BindingChoice, descriptorLimit } from '../page-cache/bindings.js';
import { MountedProtocols } from '../protocols/mounted.js';
import { plain } from '../protocols/plain.js';
import type { Protocol } from '../protocols/protocol.js';
import type { FilePolicy } from '../send/file-source.js';
import { type Limit, shareOf } from '../util/limit.js';
import { isHandler } from './assert-handler.js';
import { BrowserGuard } from './browser-guard.js';
import { Cors } from './cors.js';
import { sourceOverridesOf } from './source-overrides.js';
import type { UploadPace } from './upload-pace.js';

const MIB = 1024 * 1024;

/** Options shared by handlers and senders. */
export interface SenderOptions {
  /**
   * Maximum memory of all pooled buffers and small bodies kept in memory together, in bytes; at least 1 MiB. Default: 64 MiB, or a sixteenth of the
   * memory limit if that is less.
   */
  readonly maxPooledBytes?: number | undefined;
  /**
   * Number of processes on this host that serve artifacts, or a function that returns the current number. The defaults of
   * `maxPooledBytes` and `maxOpenFiles` and the limit on mapped bytes in flight are divided by this number. Limits that
   * are set explicitly apply to each process. Default: 1.
   */
  readonly processes?: number | (() => number) | undefined;
  /**
   * Maximum number of descriptors for open files. A higher value is reduced to three quarters of RLIMIT_NOFILE, because
   * sockets need descriptors too. Each upload in flight counts as one; uploads use at most half of them, and those of one
   * client address at most half of these. Default: half of RLIMIT_NOFILE, divided by `processes`.
   */
  readonly maxOpenFiles?: number | undefined;
  /**
   * Which files are mapped. `'auto'`: immutable files, on connections without TLS. `'always'`: immutable files, on
   * connections with TLS too. If a file is then truncated although the store declared it immutable, the process ends
   * with SIGBUS. `'never'`: no files; all files are copied or read. Default: `'auto'`.
   */
  readonly map?: 'auto' | 'always' | 'never' | undefined;
  /**
   * Whether downloads have a `Server-Timing` header with the source, the lookup time and the time to the first byte.
   * Default: false.
   */
  readonly timing?: boolean | undefined;
  /**
   * Whether browsers may treat artifacts as trusted content of the application. If false, a browser downloads them and
   * runs nothing of them: they are sent as attachments in a sandbox, and types such as HTML as
   * `application/octet-stream`. Default: false for artifacts that a handler finds in its store, true for those that the
   * application passes to `send`.
   */
  readonly trustArtifacts?: boolean | undefined;
  /**
   * Value of `Cache-Control` for artifacts that have none of their own. `no-transform` is always added. Default: `no-cache`, with
   * which a cache asks before each use whether its copy is current. If each key is a digest of its content, a long time fits:
   * `public, max-age=31536000, immutable`.
   */
  readonly cacheControl?: string | undefined;
  /** Memory pressure provider. Default: an instance of `systemMemoryPressure()` that the whole process shares. */
  readonly memory?: MemoryPressureProvider | undefined;
}

/** Options of {@link createHandler}. */
export interface HandlerOptions extends SenderOptions {
  /** Store to serve. */
  readonly store: Store;
  /**
   * Path below which the handler responds, such as `/cache`. Omit it if the framework mounts the handler below a path.
   * Default: `/`.
   */
  readonly mountPath?: string | undefined;
  /**
   * Protocols, from `hotblob/protocols`. The first protocol that recognises a request handles it. Default: `[plain()]`,
   * with which the path is the key.
   */
  readonly protocols?: readonly Protocol[] | undefined;
  /** Access policy: `staticTokens()`, `tokenFile()` or a function. Default: every client may read and write. */
  readonly access?: AccessPolicy | undefined;
  /**
   * Host names that requests may be for, in addition to `localhost`, its subdomains, 127.0.0.0/8 and `[::1]`:
   * `'cache.example.com'`, `'*.example.com'`, or `'*'` for all. A request for another host is answered with 421. Default:
   * none on connections to a loopback address, and all on other connections. If `access` is set, requests with credentials
   * may be for any host.
   */
  readonly allowedHosts?: readonly string[] | undefined;
  /**
   * Origins whose web pages may read and write, such as `'https://app.example.com'` (CORS). Uploads, deletions and POST
   * requests from pages of other origins are answered with 403; the server's own origin may always send them. Default: none.
   */
  readonly cors?: readonly string[] | undefined;
  /**
   * Whether misses, unsupported methods and invalid keys are left to the host instead of being answered by the handler.
   * Default: false.
   */
  readonly fallthrough?: boolean | undefined;
  /**
   * Whether an upload replaces an artifact under the same key. If false, the first upload of a key is kept and nothing can be deleted
   * (write once). A later upload gets the response that its tool expects: 409 for Nx, success for all others. A grant of the access
   * policy can decide differently for its client. Default: true.
   */
  readonly overwrite?: boolean | undefined;
  /** Maximum size of an upload in bytes. Default: 2 GiB. */
  readonly maxUploadBytes?: number | undefined;
  /**
   * Time budget of an upload in milliseconds. The budget decreases while the handler waits for the client, but not while the
   * store does not accept bytes. Each byte that arrives adds 1/`minUploadBytesPerSecond` seconds, up to this value. When the
   * budget is used up, the upload is answered with 408. Default: 30,000.
   */
  readonly uploadTimeoutMs?: number | undefined;
  /** Minimum rate of an upload that takes longer than `uploadTimeoutMs`, in bytes per second. Default: 1,024. */
  readonly minUploadBytesPerSecond?: number | undefined;
}

/** Options of a sender, with defaults filled in. */
export interface SenderSettings {
  readonly maxPooledBytes: Limit;
  readonly processes: Limit;
  readonly maxOpenFiles: Limit;
  readonly memory: MemoryPressureProvider;
  readonly policy: FilePolicy;
  readonly timing: boolean;
  readonly trustArtifacts: boolean | undefined;
  readonly cacheControl: string | undefined;
  readonly bindings: BindingChoice;
}

/** Limits on each upload, with defaults filled in. */
export interface UploadLimits extends UploadPace {
  readonly maxUploadBytes: number;
}

/** Options of a handler, with defaults filled in. */
export interface Settings extends SenderSettings, UploadLimits {
  readonly store: Store;
  /** Mount path without a trailing slash; empty for `/`. */
  readonly mountPath: string;
  readonly protocols: MountedProtocols;
  readonly access: AccessPolicy | undefined;
  readonly cors: Cors | undefined;
  readonly guard: BrowserGuard;
  readonly fallthrough: boolean;
  readonly overwrite: boolean;
}

/**
 * Validates the options of a sender and fills in the defaults.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown name or an invalid value
 */
export function senderSettingsOf(options: SenderOptions): SenderSettings {
  // Its methods are no properties of its own, so it would look like an object without options.
  if (isHandler(options))
    throw invalidOption('options', 'the options of a sender; a handler has a method send itself', options);
  assertOptions(options, SENDER_CHECKS);
  return fillDefaults(options);
}

/**
 * Validates the options of a handler and fills in the defaults.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown name or an invalid value
 * @throws HotblobError `ERR_HOTBLOB_INVALID_STORE` if the store lacks a method
 */
export function settingsOf(options: HandlerOptions): Settings {
  assertNoInstance(options, '{ store }');
  assertOptions(options, CHECKS);
  assertStore('store', options.store);
  // A string would be a token, which must not get into a log.
  if (options.access !== undefined && typeof options.access !== 'function') {
    throw hiddenOption(
      'access',
      'a function: the result of staticTokens() or of await tokenFile(), or your own',
      options.access,
    );
  }
  const { access, allowedHosts } = options;
  const cors = options.cors && new Cors(options.cors);
  return {
    ...fillDefaults(options),
    store: options.store,
    mountPath: (options.mountPath ?? '/').replace(/\/+$/, ''),
    protocols: new MountedProtocols(options.protocols ?? [plain()]),
    access,
    cors,
    guard: new BrowserGuard({ access, allowedHosts, origins: cors?.origins }),
    fallthrough: options.fallthrough ?? false,
    overwrite: options.overwrite ?? true,
    maxUploadBytes: options.maxUploadBytes ?? 2048 * MIB,
    uploadTimeoutMs: options.uploadTimeoutMs ?? 30_000,
    minUploadBytesPerSecond: options.minUploadBytesPerSecond ?? 1024,
  };
}

function fillDefaults(options: SenderOptions): SenderSettings {
  const memory = options.memory ?? sharedMemoryPressure();
  assertMemoryPressure(memory);
  const processes = options.processes ?? 1;
  const { only, bindings = {} } = sourceOverridesOf(options);
  return {
    maxPooledBytes: options.maxPooledBytes ?? defaultMaxPooledBytes(memory, processes),
    processes,
    maxOpenFiles: maxOpenFiles(options.maxOpenFiles, processes),
    memory,
    policy: { map: options.map ?? 'auto', only },
    timing: options.timing ?? false,
    trustArtifacts: options.trustArtifacts,
    cacheControl: options.cacheControl && withNoTransform(options.cacheControl),
    bindings,
  };
}

const SENDER_CHECKS: Readonly<Record<keyof SenderOptions, OptionCheck>> = {
  // With a smaller pool, there would be too few buffers, and most responses would be 503.
  maxPooledBytes: countFrom(MIB),
  processes: orFunction(countFrom(1)),
  maxOpenFiles: countFrom(1),
  map: oneOf('auto', 'always', 'never'),
  timing: FLAG,
  trustArtifacts: FLAG,
  cacheControl: {
    expected: 'the value of a header, such as "no-cache"',
    accepts: (value) => isFieldValue(value) && value !== '',
  },
  memory: OBJECT,
};

const CHECKED_ELSEWHERE: OptionCheck = { expected: '', accepts: () => true };

const CHECKS: Readonly<Record<keyof HandlerOptions, OptionCheck>> = {
  store: CHECKED_ELSEWHERE,
  mountPath: MOUNT_PATH,
  protocols: {
    expected: 'an array of protocols, such as [nx()]',
    accepts: (value) => Array.isArray(value) && value.length > 0,
  },
  access: CHECKED_ELSEWHERE,
  allowedHosts: ALLOWED_HOSTS,
  cors: ORIGINS,
  fallthrough: FLAG,
  overwrite: FLAG,
  maxUploadBytes: BYTES,
  uploadTimeoutMs: MILLISECONDS,
  minUploadBytesPerSecond: countFrom(1),
  ...SENDER_CHECKS,
};

function maxOpenFiles(requested: number | undefined, processes: Limit): Limit {
  const limit = descriptorLimit();
  if (requested === undefined) return shareOf(limit / 2, processes, 1);
  return Math.max(1, Math.min(requested, Math.floor((limit * 3) / 4)));
}

function defaultMaxPooledBytes(memory: MemoryPressureProvider, processes: Limit): Limit {
  const limit = memory.limitBytes || totalmem(); // 0: nothing can be measured
  return shareOf(Math.min(64 * MIB, limit / 16), processes, MIB);
}
