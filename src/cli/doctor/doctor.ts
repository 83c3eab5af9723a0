import { settingsOf } from '../../handler/options.js';
import { systemMemoryPressure } from '../../memory/pressure.js';
import { defaultMaxMappings, descriptorLimit, loadBindings } from '../../page-cache/bindings.js';
import { tryToLoad } from '../../util/load-optional.js';
import { adviceFor } from './advice.js';
import type { Diagnosis, OptionalState } from './diagnosis.js';
import { examineDirectory } from './directory.js';

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
