import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Limits the descriptors of a running process to `free` more than it has. Returns a function that ends the limit (prlimit(1)). */
export function limitDescriptors(pid: number, free: number): () => void {
  const set = (limit: string): void => void execFileSync('prlimit', [`--pid=${pid}`, `--nofile=${limit}`]);
  const [, previous = ''] = /^Max open files +(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'latin1')) ?? [];
  // A new descriptor gets the lowest free number, which must be below the limit.
  set(`${readdirSync(`/proc/${pid}/fd`).length + free}:`);
  return () => set(`${previous}:`);
}
