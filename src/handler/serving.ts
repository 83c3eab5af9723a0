import { loadBindings } from '../page-cache/bindings.js';
import { OpenFiles } from '../page-cache/open-files.js';
import { Leases } from '../send/leases.js';
import { Download } from './download.js';
import type { SenderSettings } from './options.js';
import type { Reporter } from './response-record.js';
import { Counters, type HandlerStats, memoryStats } from './stats.js';

/** Objects that all responses of one handler or sender share. */
export interface Serving {
  readonly openFiles: OpenFiles;
  readonly download: Download;
  readonly reporter: Reporter;
  stats(): HandlerStats;
  /** Closes the open files. A file in use is closed at the end of its last response. */
  close(): void;
}

/** Creates the shared objects. `owner` is the handler or sender, which response reports contain as `sender`. */
export function createServing(settings: SenderSettings, owner: object): Serving {
  const { memory, maxPooledBytes, maxOpenFiles, processes, timing } = settings;
  const bindings = loadBindings(settings.bindings);
  const leases = new Leases(maxPooledBytes, memory, processes);
  const openFiles = new OpenFiles(bindings, maxOpenFiles);
  const counters = new Counters();
  return {
    openFiles,
    download: new Download(openFiles, leases, settings),
    reporter: { sender: owner, counters, timing },
    stats: () => ({
      ...counters.snapshot(),
      mapper: bindings.mapper?.name,
      copiesResident: bindings.libc !== undefined,
      openFiles: openFiles.size,
      maxOpenFiles: openFiles.maxOpenFiles,
      mappings: bindings.mappings,
      ...leases.stats(),
      pressure: memory.level,
      memory: memoryStats(memory),
    }),
    close: () => openFiles.close(),
  };
}
