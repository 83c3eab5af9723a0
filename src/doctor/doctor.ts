import { systemMemoryPressure } from '../memory/pressure.js';
import { settingsOf } from '../options.js';
import { defaultMaxMappings, descriptorLimit, loadBindings } from '../page-cache/bindings.js';
import { tryToLoad } from '../page-cache/load.js';
import { adviceFor, type Improvement } from './advice.js';
import { type DirectoryDiagnosis, examineDirectory } from './directory.js';

/** `active`: it loads. `absent`: it is not installed. Else why it does not load, in a sentence. */
export type OptionalState = string;

/** What is at work on this machine, with the defaults of a handler. Sizes are in bytes. */
export interface Diagnosis {
  readonly version: string;
  readonly node: string;
  readonly platform: string;
  /** What maps files; null where nothing does. */
  readonly mapper: 'mmap-io' | 'libc' | null;
  /** Whether bytes are copied from the page cache (preadv2 with RWF_NOWAIT), where the file system can do it. */
  readonly copiesResident: boolean;
  readonly optional: Readonly<Record<'mmap-io' | 'koffi' | 'lmdb', OptionalState>>;
  readonly memory: {
    /** What is measured: `none` where nothing can be. */
    readonly sensor: string;
    readonly level: string;
    readonly usedBytes: number;
    readonly limitBytes: number;
  };
  readonly limits: {
    /** RLIMIT_NOFILE. */
    readonly descriptors: number;
    /** Of these, for files that are kept open. */
    readonly openFiles: number;
    /** Mappings alive. */
    readonly mappings: number;
    /** Buffers that are being filled or sent. */
    readonly poolBytes: number;
    /** Parts of mappings that are being sent. */
    readonly mappedBytes: number;
  };
  readonly directories: readonly DirectoryDiagnosis[];
  /** The one thing that would gain most; null where nothing is left to gain. */
  readonly improvement: Improvement | null;
}

/** Looks at this machine and at `directories`. Changes nothing that stays, and never rejects. */
export async function examine(version: string, directories: readonly string[]): Promise<Diagnosis> {
  const bindings = loadBindings();
  const memory = systemMemoryPressure();
  const { poolBytes, maxOpenFiles } = settingsOf({ store: { get: () => undefined }, memory });
  const found: Omit<Diagnosis, 'improvement'> = {
    version,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    mapper: bindings.mapper?.name ?? null,
    copiesResident: bindings.libc !== undefined,
    optional: { 'mmap-io': stateOf('mmap-io'), koffi: stateOf('koffi'), lmdb: stateOf('lmdb') },
    memory: {
      sensor: memory.sensor,
      level: memory.level,
      usedBytes: memory.usedBytes,
      limitBytes: memory.limitBytes,
    },
    limits: {
      descriptors: descriptorLimit(),
      openFiles: maxOpenFiles,
      mappings: defaultMaxMappings(),
      poolBytes,
      mappedBytes: memory.headroomBytes,
    },
    directories: await Promise.all(directories.map((directory) => examineDirectory(directory, bindings))),
  };
  return { ...found, improvement: adviceFor(found) ?? null };
}

function stateOf(name: string): OptionalState {
  const loading = tryToLoad(name);
  if ('module' in loading) return 'active';
  if (loading.failure === 'absent') return 'absent';
  return loading.failure.message.split('\n', 1)[0]?.trim() || 'does not load';
}
