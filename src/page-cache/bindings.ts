import { readFileSync } from 'node:fs';
import { type Libc, loadLibc } from './libc.js';
import type { Mapper, Mapping } from './mapper.js';
import { loadMmapIo } from './mmap-io.js';

/** Native bindings that are available on this machine, and the number of mappings made through them. */
export interface Bindings {
  /** Binding that maps files: `mmap-io` if it can be loaded, otherwise libc; undefined if neither can be loaded. */
  readonly mapper: Mapper | undefined;
  readonly libc: Libc | undefined;
  readonly pageSize: number;
  /** Number of mappings. */
  readonly mappings: number;
  /** Maps a part of a file. The caller owns the mapping and passes it to {@link unmap} once. */
  map(fd: number, offset: number, length: number): Mapping | 'out-of-reach' | 'map-limit' | 'map-failed';
  /** Unmaps a mapping that nothing reads any more. See {@link Mapping.unmap}. */
  unmap(mapping: Mapping): void;
}

/** Bindings that may be used. Default: all. */
export interface BindingChoice {
  /** The package `mmap-io`. Default: true. */
  readonly mmapIo?: boolean | undefined;
  /** The C library, through the package `koffi`. Default: true. */
  readonly libc?: boolean | undefined;
}

/**
 * Loads the bindings.
 *
 * @param maxMappings limit on the number of mappings. If a process reaches vm.max_map_count, the next allocation of V8
 *   fails, and the process ends
 */
export function loadBindings(choice: BindingChoice = {}, maxMappings = defaultMaxMappings()): Bindings {
  const libc = choice.libc === false ? undefined : loadLibc();
  const mmapIo = choice.mmapIo === false ? undefined : loadMmapIo();
  const mappers = [mmapIo, libc].filter((mapper) => mapper !== undefined);
  let mappings = 0;
  return {
    mapper: mappers[0],
    libc,
    pageSize: libc?.pageSize ?? largestPageSize(),
    get mappings() {
      return mappings;
    },
    map(fd, offset, length) {
      const mapper = mappers.find((candidate) => offset + length <= candidate.maxEnd);
      if (mapper === undefined) return 'out-of-reach';
      if (mappings >= maxMappings) return 'map-limit';
      try {
        const mapping = mapper.map(fd, offset, length);
        mappings++;
        return mapping;
      } catch {
        return 'map-failed';
      }
    },
    unmap(mapping) {
      mappings--;
      mapping.unmap();
    },
  };
}

// Without libc, the page size is unknown. The largest page size of the architecture is correct too, because it is a
// multiple of the others.
function largestPageSize(): number {
  return process.arch === 'x64' ? 4096 : 65536;
}

/** Returns the default limit on mappings: half of RLIMIT_NOFILE, or a quarter of vm.max_map_count if that is less. */
export function defaultMaxMappings(): number {
  return Math.floor(Math.min(descriptorLimit() / 2, readNumber('/proc/sys/vm/max_map_count', /(\d+)/, 65530) / 4));
}

/** Returns the soft limit on open descriptors (RLIMIT_NOFILE), or 1,024 if it cannot be read. */
export function descriptorLimit(): number {
  return readNumber('/proc/self/limits', /^Max open files\s+(\d+)/m, 1024);
}

function readNumber(path: string, pattern: RegExp, fallback: number): number {
  try {
    return Number(pattern.exec(readFileSync(path, 'latin1'))?.[1] ?? fallback);
  } catch {
    return fallback;
  }
}
