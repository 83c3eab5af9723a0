import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SHIM = fileURLToPath(new URL('./failing-io.c', import.meta.url));

/** A disk that answers EIO when it is told to, to a process that is started with its {@link environment}. */
export class FailingDisk {
  /** For the process. */
  readonly environment: Readonly<Record<string, string>>;
  readonly #when: string;

  /**
   * Compiles what stands between the process and the C library.
   *
   * @param name a part of the paths that fail
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

  fail(what: 'all' | 'sync' | 'meta' | 'read'): Promise<void> {
    return writeFile(this.#when, what);
  }

  mend(): Promise<void> {
    return rm(this.#when);
  }
}
