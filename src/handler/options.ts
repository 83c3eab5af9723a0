import { totalmem } from 'node:os';
import type { AccessPolicy } from '../access/policy.js';
import { HotblobError } from '../contract/errors.js';
import type { Store } from '../contract/store.js';
import {
  assertOptions,
  BYTES,
  countFrom,
  FLAG,
  invalidOption,
  OBJECT,
  type OptionCheck,
  oneOf,
} from '../contract/validation.js';
import { assertMemoryPressure, type MemoryPressureProvider, sharedMemoryPressure } from '../memory/pressure.js';
import { type BindingChoice, descriptorLimit } from '../page-cache/bindings.js';
import { MountedProtocols } from '../protocols/mounted.js';
import { plain } from '../protocols/plain.js';
import type { Protocol } from '../protocols/protocol.js';
import type { FilePolicy } from '../send/file-source.js';

const MIB = 1024 * 1024;

/** What sends artifacts takes, whoever finds them. */
export interface SenderOptions {
  /** All buffers together, in bytes. Default: 64 MiB, or a sixteenth of the memory limit where that is less. */
  readonly poolBytes?: number | undefined;
  /**
   * Processes of this host that serve: every limit is one process's, and of the host's memory each takes its part (of the
   * pool's default, and of what may be mapped and in flight). Default: 1.
   */
  readonly processes?: number | undefined;
  /** Descriptors kept open, never more than three quarters of RLIMIT_NOFILE: sockets need some too. Default: half of it. */
  readonly maxOpenFiles?: number | undefined;
  /**
   * `'auto'` maps over plain sockets what is promised to be immutable, `'always'` over TLS as well: there a file that is
   * cut off all the same ends the process. `'never'` copies and reads. Default: `'auto'`.
   */
  readonly map?: 'auto' | 'always' | 'never' | undefined;
  /**
   * Whether downloads say in `Server-Timing` where they came from, and what the lookup and the first byte took. Default:
   * false.
   */
  readonly timing?: boolean | undefined;
  /** Default: `systemMemoryPressure()`, shared by all handlers and senders. */
  readonly memory?: MemoryPressureProvider | undefined;
  /** For tests: the only source that files are sent from, as far as it can serve; reads do the rest. Default: all. */
  readonly only?: 'mapped' | 'copied' | 'read' | undefined;
  /** For tests: bindings to do without. Default: all that load. */
  readonly bindings?: BindingChoice | undefined;
}

/** What {@link createHandler} takes. */
export interface HandlerOptions extends SenderOptions {
  /** Where artifacts come from, and go to. */
  readonly store: Store;
  /** Only paths below this one are the handler's, such as `/cache`. Frameworks that mount below a path need none. Default: `/`. */
  readonly mountPath?: string | undefined;
  /**
   * What build tools speak, as of `hotblob/protocols`; the first that recognises a request has it. Default: `plain()`
   * alone, where the path is the key.
   */
  readonly protocols?: readonly Protocol[] | undefined;
  /** Who may read and write: `staticTokens`, `tokenFile`, or a function. Default: everybody may. */
  readonly access?: AccessPolicy | undefined;
  /** Whether misses, and methods that the store does not have, are left to whoever comes next. Default: false. */
  readonly fallthrough?: boolean | undefined;
  /** The largest upload, in bytes. Default: 2 GiB. */
  readonly maxUploadBytes?: number | undefined;
}

/** The options of a sender with nothing left out. */
export interface SenderSettings {
  readonly poolBytes: number;
  readonly processes: number;
  readonly maxOpenFiles: number;
  readonly memory: MemoryPressureProvider;
  readonly policy: FilePolicy;
  readonly timing: boolean;
  readonly bindings: BindingChoice;
}

/** The options with nothing left out. */
export interface Settings extends SenderSettings {
  readonly store: Store;
  /** Without a slash at its end: empty for `/`. */
  readonly mountPath: string;
  readonly protocols: MountedProtocols;
  readonly access: AccessPolicy | undefined;
  readonly fallthrough: boolean;
  readonly maxUploadBytes: number;
}

/**
 * Fills in the defaults of a sender.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown name or a wrong value
 */
export function senderSettingsOf(options: SenderOptions): SenderSettings {
  assertOptions(options, SENDER_CHECKS);
  return sending(options);
}

/**
 * Fills in the defaults.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown name or a wrong value, `ERR_HOTBLOB_INVALID_STORE`
 */
export function settingsOf(options: HandlerOptions): Settings {
  assertOptions(options, CHECKS);
  assertStore(options.store);
  return {
    ...sending(options),
    store: options.store,
    mountPath: (options.mountPath ?? '/').replace(/\/+$/, ''),
    protocols: new MountedProtocols(options.protocols ?? [plain()]),
    access: options.access,
    fallthrough: options.fallthrough ?? false,
    maxUploadBytes: options.maxUploadBytes ?? 2048 * MIB,
  };
}

function sending(options: SenderOptions): SenderSettings {
  const memory = options.memory ?? sharedMemoryPressure();
  assertMemoryPressure(memory);
  const processes = options.processes ?? 1;
  return {
    poolBytes: options.poolBytes ?? defaultPoolBytes(memory, processes),
    processes,
    maxOpenFiles: maxOpenFiles(options.maxOpenFiles),
    memory,
    policy: { map: options.map ?? 'auto', only: options.only },
    timing: options.timing ?? false,
    bindings: options.bindings ?? {},
  };
}

const SENDER_CHECKS: Readonly<Record<keyof SenderOptions, OptionCheck>> = {
  // Less than a few windows would answer nothing but 503.
  poolBytes: countFrom(MIB),
  processes: countFrom(1),
  maxOpenFiles: countFrom(1),
  map: oneOf('auto', 'always', 'never'),
  timing: FLAG,
  memory: OBJECT,
  only: oneOf('mapped', 'copied', 'read'),
  bindings: OBJECT,
};

const CHECKS: Readonly<Record<keyof HandlerOptions, OptionCheck>> = {
  store: OBJECT,
  mountPath: {
    expected: 'a path that starts with "/"',
    accepts: (value) => typeof value === 'string' && value.startsWith('/'),
  },
  protocols: {
    expected: 'an array of protocols',
    accepts: (value) => Array.isArray(value) && value.length > 0,
  },
  access: { expected: 'a function', accepts: (value) => typeof value === 'function' },
  fallthrough: FLAG,
  maxUploadBytes: BYTES,
  ...SENDER_CHECKS,
};

function assertStore(store: Store): void {
  if (!OBJECT.accepts(store)) throw invalidOption('store', 'a store', store);
  for (const name of ['get', 'put', 'delete', 'close'] as const) {
    const method: unknown = store[name];
    if (typeof method === 'function' || (method === undefined && name !== 'get')) continue;
    throw new HotblobError(
      'ERR_HOTBLOB_INVALID_STORE',
      `store.${name}: expected a function, received ${typeof method}`,
    );
  }
}

function maxOpenFiles(wanted: number | undefined): number {
  const limit = descriptorLimit();
  return Math.max(1, Math.min(wanted ?? Math.floor(limit / 2), Math.floor((limit * 3) / 4)));
}

function defaultPoolBytes(memory: MemoryPressureProvider, processes: number): number {
  const limit = memory.limitBytes || totalmem(); // 0: nothing can be measured
  return Math.max(MIB, Math.floor(Math.min(64 * MIB, limit / 16) / processes));
}
