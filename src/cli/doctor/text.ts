import { formatBytes } from '../../util/units.js';
import type { Diagnosis } from './diagnosis.js';
import type { DirectoryDiagnosis, Residency } from './directory.js';

const RESIDENCY: Readonly<Record<Residency, string>> = {
  truthful: 'mincore tells what is in memory',
  lying: 'mincore does not tell what is in memory',
  untrusted: 'mincore does not tell what is in memory of files of another user',
  assumed: 'nothing can be written there to try mincore on',
  unknown: 'nothing to ask mincore with',
};

/** A diagnosis for people, a line for each thing. */
export function describe(diagnosis: Diagnosis): string {
  const { optional, memory, limits, improvement } = diagnosis;
  const lines: [string, string][] = [
    ['hotblob', `${diagnosis.version} on Node ${diagnosis.node}, ${diagnosis.platform}`],
    ['mapping', mapping(diagnosis)],
    [
      'page-cache copy',
      diagnosis.copiesResident ? 'preadv2 through koffi' : `none, reads instead (${koffi(diagnosis)})`,
    ],
    ['segments', optional.lmdb === 'active' ? 'indexed by lmdb' : `none (lmdb: ${optional.lmdb})`],
    [
      'memory pressure',
      memory.sensor === 'none'
        ? 'nothing can be measured, so that nothing is mapped'
        : `${memory.level}, ${formatBytes(memory.usedBytes)} of ${formatBytes(memory.limitBytes)} in use (${memory.sensor})`,
    ],
    ['descriptors', `${limits.descriptors}, of which ${limits.openFiles} for files that are kept open`],
    ['mappings', `${limits.mappings} at most, ${formatBytes(limits.mappedBytes)} of them in flight`],
    ['buffers', `${formatBytes(limits.poolBytes)} at most`],
    ...diagnosis.directories.map((each): [string, string] => [each.directory, directory(each, diagnosis)]),
    ['to improve it', improvement === null ? 'nothing' : `${improvement.command}    # ${improvement.reason}`],
  ];
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}

function mapping({ mapper, optional }: Diagnosis): string {
  if (mapper === 'mmap-io') return 'mmap-io';
  const without = `mmap-io: ${optional['mmap-io']}`;
  return mapper === 'libc' ? `libc through koffi (${without})` : `none (${without})`;
}

function koffi({ optional }: Diagnosis): string {
  return optional.koffi === 'active' ? 'not on this platform' : `koffi: ${optional.koffi}`;
}

function directory(found: DirectoryDiagnosis, { mapper }: Diagnosis): string {
  if (found.problem !== null) return `cannot be served: ${found.problem}`;
  const isMapped = mapper !== null && found.immutable && found.residency !== 'untrusted' && found.residency !== 'lying';
  return [
    found.store === 'segments' ? 'segments' : 'a file for each artifact',
    found.fileSystem === null ? 'unknown file system' : found.fileSystem,
    isMapped ? 'mapped' : found.immutable ? 'not mapped' : 'not mapped: not known to be immutable',
    found.copiesResident === null
      ? 'no file to try a copy on'
      : found.copiesResident
        ? 'copied'
        : 'not copied, but read',
    RESIDENCY[found.residency] + (found.untrustedFile === null ? '' : `, such as ${found.untrustedFile}`),
  ].join('; ');
}
