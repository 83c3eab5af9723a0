import { readFileSync } from 'node:fs';
import { type Libc, loadLibc } from './libc.js';
import type { Mapper, Mapping } from './mapper.js';
import { loadMmapIo } from './mmap-io.js';

/** The native calls that work on this machine, chosen once, and the count of what they have mapped. */
export interface Bindings {
  /** `mmap-io` where it loads, else libc. Neither: nothing is mapped. */
  readonly mapper: Mapper | undefined;
  readonly libc: Libc | undefined;
  readonly pageSize: number;
  /** Mappings alive: those that nobody has collected yet are among them. */
  readonly mappings: number;
  map(fd: number, offset: number, length: number): Mapping | 'out-of-reach' | 'map-limit' | 'map-failed';
}

/** Which bindings to use; all that load by default. */
export interface BindingChoice {
  /** `mmap-io`. Default: true. */
  readonly mmapIo?: boolean | undefined;
  /** The C library, through `koffi`. Default: true. */
  readonly libc?: boolean | undefined;
}

/** Chooses the bindings. `maxMappings` bounds the mappings alive: at vm.max_map_count the next allocation of V8 ends the process. */
export function loadBindings(choice: BindingChoice = {}, maxMappings = defaultMaxMappings()): Bindings {
  const libc = choice.libc === false ? undefined : loadLibc();
  const mmapIo = choice.mmapIo === false ? undefined : loadMmapIo();
  const mappers = [mmapIo, libc].filter((mapper) => mapper !== undefined);
  let mappings = 0;
  const counter = new FinalizationRegistry<undefined>(() => {
    mappings--;
  });
  return {
    mapper: mappers[0],
    libc,
    pageSize: libc?.pageSize ?? largestPage(),
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
        counter.register(mapping.bytes.buffer, undefined);
        return mapping;
      } catch {
        return 'map-failed';
      }
    },
  };
}

// Without libc to ask: a multiple of every page size in use on the architecture is right too, only coarser.
function largestPage(): number {
  return process.arch === 'x64' ? 4096 : 65536;
}

/** Mappings alive at most: half of RLIMIT_NOFILE, or a quarter of vm.max_map_count where that is less. */
export function defaultMaxMappings(): number {
  return Math.floor(Math.min(descriptorLimit() / 2, readNumber('/proc/sys/vm/max_map_count', /(\d+)/, 65530) / 4));
}

/** The soft limit on open descriptors (RLIMIT_NOFILE); 1,024 where it cannot be read. */
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
