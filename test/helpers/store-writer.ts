import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';

/** Returns the process, among `pids`, that writes to the shared store in a directory: it listens on the socket of the writer. */
export function writerOf(directory: string, pids: readonly number[]): number | undefined {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' }).map((name) => basename(name));
  const sockets = readFileSync('/proc/net/unix', 'latin1')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(
      ([, , , , , , , path = '']) => basename(path).startsWith('writer-shared-') && names.includes(basename(path)),
    )
    .map(([, , , , , , inode]) => `socket:[${inode}]`);
  return pids.find((pid) => descriptorsOf(pid).some((target) => sockets.includes(target)));
}

function descriptorsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  } catch {
    return []; // the process has ended, or it has closed a descriptor
  }
}
