import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SHIM = fileURLToPath(new URL('./failing-io.c', import.meta.url));

/** Simulates a disk that fails with EIO, for a process that is started with its {@link environment}. */
export class FailingDisk {
  /** Environment variables for the process. */
  readonly environment: Readonly<Record<string, string>>;
  readonly #when: string;

  /**
   * Compiles the LD_PRELOAD library that intercepts the I/O functions of the C library.
   *
   * @param name substring of the paths that fail
   */
  static async compile(directory: string, name: string): Promise<FailingDisk> {
    const library = `${directory}/failing-io.so`;
    await promisify(execFile)('cc', ['-shared', '-fPIC', '-o', library, SHIM, '-ldl']);
    return new FailingDisk(library, name, `${directory}/when`);
  }

  private constructor(library: string, name: string, when: string) {
    this.environment = { LD_PRELOAD: library, FAIL_NAME: name, FAIL_WHEN: when };
    this.#when = when;
  }

  fail(operations: 'all' | 'sync' | 'meta' | 'read'): Promise<void> {
    return writeFile(this.#when, operations);
  }

  mend(): Promise<void> {
    return rm(this.#when);
  }
}
