import { formatBytes } from '../../util/units.js';
import type { Diagnosis } from './diagnosis.js';
import type { DirectoryDiagnosis, MincoreStatus } from './directory.js';

const MINCORE: Readonly<Record<MincoreStatus, string>> = {
  truthful: 'mincore is reliable',
  lying: 'mincore is unreliable',
  untrusted: 'mincore is unreliable for files of another user',
  assumed: 'mincore not tested (directory not writable)',
  unknown: 'mincore not tested (no mapping)',
};

/** Formats a diagnosis as text, one line for each finding. */
export function formatDiagnosis(diagnosis: Diagnosis): string {
  const { optional, memory, limits, improvement } = diagnosis;
  const lines: [string, string][] = [
    ['hotblob', `${diagnosis.version} on Node ${diagnosis.node}, ${diagnosis.platform}`],
    ['mapping', formatMapping(diagnosis)],
    ['page-cache copy', diagnosis.copiesResident ? 'preadv2 through koffi' : `none (${formatKoffi(diagnosis)})`],
    ['segments', optional.lmdb === 'active' ? 'indexed by lmdb' : `not available (lmdb: ${optional.lmdb})`],
    [
      'memory pressure',
      memory.sensor === 'none'
        ? 'not measured, so nothing is mapped'
        : `${memory.level}, ${formatBytes(memory.usedBytes)} of ${formatBytes(memory.limitBytes)} in use (${memory.sensor})`,
    ],
    ['descriptors', `at most ${limits.descriptors}, of which ${limits.openFiles} for open files`],
    ['mappings', `at most ${limits.mappings}; at most ${formatBytes(limits.mappedBytes)} in flight`],
    ['buffer pool', `at most ${formatBytes(limits.maxPooledBytes)}`],
    ...formatServe(diagnosis.serve),
    ...diagnosis.directories.map((each): [string, string] => [each.directory, formatDirectory(each, diagnosis)]),
    ['improvement', improvement === null ? 'none' : `${improvement.command}    # ${improvement.reason}`],
  ];
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}

function formatServe(serve: Diagnosis['serve']): [string, string][] {
  if (serve === null) return [];
  const { problems, warnings } = serve;
  return [
    ['serve', problems.length === 0 ? 'would start' : 'would not start'],
    ...problems.map((problem): [string, string] => ['problem', problem]),
    ...warnings.map((warning): [string, string] => ['warning', warning]),
  ];
}

function formatMapping({ mapper, optional }: Diagnosis): string {
  if (mapper === 'mmap-io') return 'mmap-io';
  const reason = `mmap-io: ${optional['mmap-io']}`;
  return mapper === 'libc' ? `libc through koffi (${reason})` : `none (${reason})`;
}

function formatKoffi({ optional }: Diagnosis): string {
  return optional.koffi === 'active' ? 'not supported on this platform' : `koffi: ${optional.koffi}`;
}

function formatDirectory(directory: DirectoryDiagnosis, { mapper }: Diagnosis): string {
  const { problem, store, fileSystem, immutable, copiesResident, residency, untrustedFile } = directory;
  if (problem !== null) return `cannot be served: ${problem}`;
  const isMapped = mapper !== null && immutable && residency !== 'untrusted' && residency !== 'lying';
  return [
    store === 'segments' ? 'segments' : 'one file per artifact',
    fileSystem === null ? 'unknown file system' : fileSystem,
    isMapped ? 'mapped' : immutable ? 'not mapped' : 'not mapped (not known to be immutable)',
    copiesResident === null
      ? 'page-cache copy not tested (no file)'
      : copiesResident
        ? 'page-cache copy'
        : 'no page-cache copy',
    MINCORE[residency] + (untrustedFile === null ? '' : `, such as ${untrustedFile}`),
  ].join('; ');
}
