import type { Diagnosis, Improvement, OptionalState } from './diagnosis.js';

/** Sockets, files and mappings share them: with fewer a busy cache answers 503. */
const ENOUGH_DESCRIPTORS = 16_384;
// 1.1.7 asks for C++11, which the headers of no current Node compile with; what comes last on the command line holds.
const BUILD = 'CXXFLAGS=-std=gnu++20';

/** What gains most comes first. */
export function adviceFor(found: Omit<Diagnosis, 'improvement'>): Improvement | undefined {
  const { optional, mapper, limits, directories, platform } = found;
  const isLinux = platform.startsWith('linux ');
  if (isLinux && optional.koffi !== 'active') {
    const reason = 'koffi, which is prebuilt, copies from the page cache without waiting for a disk, and maps files.';
    return { command: install('koffi', optional.koffi), reason };
  }
  if (mapper === null && optional['mmap-io'] !== 'active' && !platform.startsWith('win32 ')) {
    const reason = 'mmap-io maps files; it needs a C++ compiler, Python and the headers of Node.';
    const command = optional['mmap-io'] === 'absent' ? 'install mmap-io@^1.1.7' : 'rebuild mmap-io';
    return { command: `${BUILD} npm ${command} --ignore-scripts=false`, reason };
  }
  if (optional.lmdb !== 'active') {
    const reason = 'lmdb, which is prebuilt, is the index of stores in segments.';
    return { command: install('lmdb', optional.lmdb), reason };
  }
  if (limits.descriptors < ENOUGH_DESCRIPTORS) {
    const reason = `${limits.descriptors} descriptors are few for connections and files.`;
    return { command: `ulimit -n ${ENOUGH_DESCRIPTORS * 4}`, reason };
  }
  const untrusted = directories.find(({ residency, immutable }) => residency === 'untrusted' && immutable);
  if (untrusted !== undefined) {
    const reason = 'Files of another user are not mapped: the kernel does not say what of them is in memory.';
    return { command: `chown -R "$(id -u)" ${quoted(untrusted.directory)}`, reason };
  }
  const mutable = directories.find(({ immutable, problem }) => problem === null && !immutable);
  if (mutable !== undefined && mapper !== null) {
    const reason = 'If nobody ever truncates its files or rewrites them in place, say so, and they are mapped.';
    return { command: `hotblob serve --immutable --dir ${quoted(mutable.directory)}`, reason };
  }
  return undefined;
}

/** What is there and does not load lacks the package that holds its binary for this platform. */
function install(name: string, state: OptionalState): string {
  return state === 'absent' ? `npm install ${name}` : `npm install ${name} --force --include=optional`;
}

function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
