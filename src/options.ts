import { totalmem } from 'node:os';
import { HotblobError } from './errors.js';
import { type MemoryPressureProvider, systemMemoryPressure } from './memory/pressure.js';
import { type BindingChoice, descriptorLimit } from './page-cache/bindings.js';
import type { FilePolicy } from './send/file-source.js';
import type { Store } from './store.js';

const MIB = 1024 * 1024;

/** What {@link createHandler} takes. */
export interface HandlerOptions {
  /** Where artifacts come from, and go to. */
  readonly store: Store;
  /** Only paths below this one are the handler's, such as `/cache`. Frameworks that mount below a path need none. Default: `/`. */
  readonly mountPath?: string | undefined;
  /** Whether misses, and methods that the store does not have, are left to whoever comes next. Default: false. */
  readonly fallthrough?: boolean | undefined;
  /** The largest upload, in bytes. Default: 2 GiB. */
  readonly maxUploadBytes?: number | undefined;
  /** All buffers together, in bytes. Default: 64 MiB, or a sixteenth of the memory limit where that is less. */
  readonly poolBytes?: number | undefined;
  /** Descriptors kept open. Default: half of RLIMIT_NOFILE. */
  readonly maxOpenFiles?: number | undefined;
  /**
   * `'auto'` maps over plain sockets what the store promises to be immutable, `'always'` over TLS as well: there a file
   * that is cut off all the same ends the process. `'never'` copies and reads. Default: `'auto'`.
   */
  readonly map?: 'auto' | 'always' | 'never' | undefined;
  /** Default: {@link systemMemoryPressure}, shared by all handlers. */
  readonly memory?: MemoryPressureProvider | undefined;
  /** For tests: the only source that files are sent from, as far as it can serve; reads do the rest. Default: all. */
  readonly only?: 'mapped' | 'copied' | 'read' | undefined;
  /** For tests: bindings to do without. Default: all that load. */
  readonly bindings?: BindingChoice | undefined;
}

/** The options with nothing left out. */
export interface Settings {
  readonly store: Store;
  /** Without a slash at its end: empty for `/`. */
  readonly mountPath: string;
  readonly fallthrough: boolean;
  readonly maxUploadBytes: number;
  readonly poolBytes: number;
  readonly maxOpenFiles: number;
  readonly memory: MemoryPressureProvider;
  readonly policy: FilePolicy;
  readonly bindings: BindingChoice;
}

/**
 * Fills in the defaults.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown name or a wrong value, `ERR_HOTBLOB_INVALID_STORE`
 */
export function settingsOf(options: HandlerOptions): Settings {
  const given = known(options);
  assertStore(given.store);
  const memory = given.memory ?? systemMemory();
  if (typeof memory.level !== 'string' || typeof memory.headroomBytes !== 'number') {
    throw invalid('memory', 'an object with level and headroomBytes', memory);
  }
  return {
    store: given.store,
    mountPath: mountPathOf(given.mountPath ?? '/'),
    fallthrough: boolean('fallthrough', given.fallthrough ?? false),
    maxUploadBytes: count('maxUploadBytes', given.maxUploadBytes ?? 2048 * MIB, 0),
    // Less than a few windows would answer nothing but 503.
    poolBytes: count('poolBytes', given.poolBytes ?? defaultPoolBytes(memory), MIB),
    maxOpenFiles: count('maxOpenFiles', given.maxOpenFiles ?? Math.floor(descriptorLimit() / 2), 1),
    memory,
    policy: {
      map: oneOf('map', given.map ?? 'auto', ['auto', 'always', 'never']),
      only:
        given.only === undefined
          ? undefined
          : oneOf<'mapped' | 'copied' | 'read'>('only', given.only, ['mapped', 'copied', 'read']),
    },
    bindings: given.bindings ?? {},
  };
}

let shared: MemoryPressureProvider | undefined;

function systemMemory(): MemoryPressureProvider {
  shared ??= systemMemoryPressure();
  return shared;
}

const NAMES: Readonly<Record<keyof HandlerOptions, true>> = {
  store: true,
  mountPath: true,
  fallthrough: true,
  maxUploadBytes: true,
  poolBytes: true,
  maxOpenFiles: true,
  map: true,
  memory: true,
  only: true,
  bindings: true,
};

function known(options: HandlerOptions): HandlerOptions {
  if (typeof options !== 'object' || options === null) throw invalid('options', 'an object', options);
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(NAMES, name)) throw invalid(name, `one of the options ${Object.keys(NAMES).join(', ')}`, name);
  }
  return options;
}

function assertStore(store: Store): void {
  if (typeof store !== 'object' || store === null) throw invalid('store', 'a store', store);
  const missing = typeof store.get !== 'function' ? 'get' : undefined;
  const wrong = (['put', 'delete', 'close'] as const).find(
    (name) => store[name] !== undefined && typeof store[name] !== 'function',
  );
  const name = missing ?? wrong;
  if (name !== undefined) {
    throw new HotblobError(
      'ERR_HOTBLOB_INVALID_STORE',
      `store.${name}: expected a function, found ${show(store[name])}`,
    );
  }
}

function mountPathOf(path: string): string {
  if (typeof path !== 'string' || !path.startsWith('/'))
    throw invalid('mountPath', 'a path that starts with "/"', path);
  return path.replace(/\/+$/, '');
}

function defaultPoolBytes(memory: MemoryPressureProvider): number {
  const limit = ('limitBytes' in memory && Number(memory.limitBytes)) || totalmem();
  return Math.max(MIB, Math.min(64 * MIB, Math.floor(limit / 16)));
}

function count(name: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw invalid(name, `a whole number from ${least}`, value);
}

function boolean(name: string, value: boolean): boolean {
  if (typeof value === 'boolean') return value;
  throw invalid(name, 'true or false', value);
}

function oneOf<T extends string>(name: string, value: T, values: readonly T[]): T {
  if (values.includes(value)) return value;
  throw invalid(name, values.map((each) => `'${each}'`).join(', '), value);
}

function invalid(name: string, expected: string, found: unknown): HotblobError {
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `${name}: expected ${expected}, found ${show(found)}`);
}

function show(value: unknown): string {
  return typeof value === 'string'
    ? `'${value}'`
    : typeof value === 'object' && value !== null
      ? 'an object'
      : String(value);
}
