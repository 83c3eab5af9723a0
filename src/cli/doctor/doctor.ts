import { settingsOf } from '../../handler/options.js';
import { systemMemoryPressure } from '../../memory/pressure.js';
import { defaultMaxMappings, descriptorLimit, loadBindings } from '../../page-cache/bindings.js';
import { currentLimit } from '../../util/limit.js';
import { tryToLoad } from '../../util/load-optional.js';
import { adviceFor } from './advice.js';
import type { Diagnosis, OptionalState } from './diagnosis.js';
import { diagnoseDirectory } from './directory.js';
import { checkServe, type ServeCheck } from './serve-checks.js';

/**
 * Diagnoses this machine and `directories`, and whether `hotblob serve` would start. Leaves no changes behind, and never rejects.
 *
 * @param serve options of `hotblob serve`; without them, its start is not checked
 */
export async function diagnose(
  version: string,
  directories: readonly string[],
  serve: ServeCheck | undefined,
): Promise<Diagnosis> {
  const bindings = loadBindings();
  const memory = systemMemoryPressure();
  const settings = settingsOf({ store: { get: () => undefined }, memory });
  const diagnosis: Omit<Diagnosis, 'improvement'> = {
    version,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    mapper: bindings.mapper?.name ?? null,
    copiesResident: bindings.libc !== undefined,
    optional: { 'mmap-io': loadState('mmap-io'), koffi: loadState('koffi'), lmdb: loadState('lmdb') },
    memory: {
      sensor: memory.sensor,
      level: memory.level,
      usedBytes: memory.usedBytes,
      limitBytes: memory.limitBytes,
    },
    limits: {
      descriptors: descriptorLimit(),
      openFiles: currentLimit(settings.maxOpenFiles),
      mappings: defaultMaxMappings(),
      maxPooledBytes: currentLimit(settings.maxPooledBytes),
      mappedBytes: memory.headroomBytes,
    },
    serve: serve === undefined ? null : await checkServe(serve),
    directories: await Promise.all(directories.map((directory) => diagnoseDirectory(directory, bindings))),
  };
  return { ...diagnosis, improvement: adviceFor(diagnosis) ?? null };
}

function loadState(name: string): OptionalState {
  const result = tryToLoad(name);
  if ('module' in result) return 'active';
  if (result.failure === 'absent') return 'absent';
  return result.failure.message.split('\n', 1)[0]?.trim() || 'cannot be loaded';
}
