import type { Diagnosis, Improvement, OptionalState } from './diagnosis.js';

/**
 * Number of file descriptors that a busy cache needs for sockets, open files and mappings. When they run out, requests
 * are answered with 503.
 */
const ENOUGH_DESCRIPTORS = 16_384;
// mmap-io 1.1.7 sets -std to C++11, but the headers of Node 20 and newer need C++20. The last -std on the command line
// wins.
const BUILD = 'CXXFLAGS=-std=gnu++20';

/** Returns the improvement with the largest effect, or `undefined` if there is none. */
export function adviceFor(diagnosis: Omit<Diagnosis, 'improvement'>): Improvement | undefined {
  const { optional, mapper, limits, directories, platform } = diagnosis;
  const isLinux = platform.startsWith('linux ');
  if (isLinux && optional.koffi !== 'active') {
    const reason = 'koffi (prebuilt) copies from the page cache without waiting for the disk, and maps files.';
    return { command: installCommand('koffi', optional.koffi), reason };
  }
  if (mapper === null && optional['mmap-io'] !== 'active' && !platform.startsWith('win32 ')) {
    const reason = 'mmap-io maps files. To compile it, npm needs a C++ compiler, Python and the headers of Node.';
    const command = optional['mmap-io'] === 'absent' ? 'install mmap-io@^1.1.7' : 'rebuild mmap-io';
    return { command: `${BUILD} npm ${command} --ignore-scripts=false`, reason };
  }
  if (optional.lmdb !== 'active') {
    const reason = 'lmdb (prebuilt) is the index of segment stores.';
    return { command: installCommand('lmdb', optional.lmdb), reason };
  }
  if (limits.descriptors < ENOUGH_DESCRIPTORS) {
    const reason = `The limit of ${limits.descriptors} descriptors is low for connections and open files.`;
    return { command: `ulimit -n ${ENOUGH_DESCRIPTORS * 4}`, reason };
  }
  const untrusted = directories.find(({ residency, immutable }) => residency === 'untrusted' && immutable);
  if (untrusted !== undefined) {
    const reason =
      'Files of another user are not mapped: the kernel does not report which of their pages are resident.';
    return { command: `chown -R "$(id -u)" ${quote(untrusted.directory)}`, reason };
  }
  const mutable = directories.find(({ immutable, problem }) => problem === null && !immutable);
  if (mutable !== undefined && mapper !== null) {
    const reason =
      'With --immutable, the files are mapped. Use it only if files are never truncated or rewritten in place.';
    return { command: `hotblob serve --immutable --dir ${quote(mutable.directory)}`, reason };
  }
  return undefined;
}

/**
 * Returns the command that installs a package. If the package is installed but cannot be loaded, its binary for this
 * platform is missing; npm installs the binary as an optional dependency.
 */
function installCommand(name: string, state: OptionalState): string {
  return state === 'absent' ? `npm install ${name}` : `npm install ${name} --force --include=optional`;
}

function quote(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
