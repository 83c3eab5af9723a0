import { close, constants, fstat, open, stat, write } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { errnoCode } from '../../contract/errors.js';
import { messageOf, reportEvent } from '../../util/report-event.js';
import { formatCountOf } from '../../util/units.js';
import { CommandError } from '../command.js';

const openAsync = promisify(open);
const closeAsync = promisify(close);
const fstatAsync = promisify(fstat);
const statAsync = promisify(stat);
const writeAsync = promisify(write);

/** Lines that wait for a slow disk or reader. Further lines are dropped. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;
/** Minimum time between two checks whether the file was renamed or deleted. */
const CHECK_INTERVAL_MS = 1000;
/** Time between two attempts to write to a pipe that is full. */
const RETRY_MS = 50;
/** Largest write that a pipe does not mix with those of other processes (PIPE_BUF of Linux, pipe(7)). */
const MAX_PIPE_WRITE_BYTES = 4096;
// With O_NONBLOCK, a pipe without a reader does not occupy a thread of the pool.
const FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;
const STDOUT = 1;

/**
 * File to which lines are appended in the background. Several processes can append to it. If the file is renamed or deleted, for
 * example by logrotate, the next lines go to a new file.
 */
export class LineFile {
  readonly #path: string;
  readonly #isStdout: boolean;
  #descriptor: number;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #dropped = 0;
  #writing: Promise<void> | undefined;
  #checkedAt = performance.now();
  #mustReopen = false;
  #isClosed = false;

  /**
   * Opens the file, and creates it if it does not exist.
   *
   * @param path path of the file; `-` for stdout
   * @throws CommandError if the file cannot be opened
   */
  static async open(path: string): Promise<LineFile> {
    try {
      return new LineFile(path, await openForAppending(path));
    } catch (error) {
      throw new CommandError(`--access-log: ${path} cannot be opened for writing: ${messageOf(error)}`);
    }
  }

  private constructor(path: string, descriptor: number) {
    this.#path = path;
    this.#isStdout = path === '-';
    this.#descriptor = descriptor;
  }

  /** Number of lines that were dropped. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Adds a line, without its newline. It is dropped if too many others wait. Never blocks and never throws. */
  add(line: string): void {
    const bytes = Buffer.byteLength(line) + 1;
    if (this.#isClosed || this.#waitingBytes + bytes > MAX_WAITING_BYTES) {
      this.#drop(1, 'the file does not accept lines as fast as they arrive');
      return;
    }
    this.#waiting.push(`${line}\n`);
    this.#waitingBytes += bytes;
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Opens the file again before the next line is written. */
  reopen(): void {
    this.#mustReopen = true;
  }

  /** Writes the lines that wait, for at most `timeoutMs`, and closes the file. */
  async close(timeoutMs = 1000): Promise<void> {
    const timeout = new AbortController();
    const late = setTimeout(timeoutMs, undefined, { signal: timeout.signal }).catch(() => {});
    await Promise.race([this.#writing, late]);
    timeout.abort();
    this.#isClosed = true;
    await closeDescriptor(this.#descriptor).catch(() => {});
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#isClosed) {
      const lines = this.#take();
      try {
        await this.#reopenIfNeeded();
        await this.#write(Buffer.from(lines.join('')));
      } catch (error) {
        this.#drop(lines.length, messageOf(error), error);
      }
    }
  }

  /** Takes lines for one write. */
  #take(): string[] {
    let count = this.#waiting.length;
    if (this.#isStdout) {
      let bytes = 0;
      const end = this.#waiting.findIndex((line, index) => {
        bytes += Buffer.byteLength(line);
        return index > 0 && bytes > MAX_PIPE_WRITE_BYTES;
      });
      if (end !== -1) count = end;
    }
    const lines = this.#waiting.splice(0, count);
    for (const line of lines) this.#waitingBytes -= Buffer.byteLength(line);
    return lines;
  }

  async #write(bytes: Buffer): Promise<void> {
    for (let written = 0; written < bytes.byteLength && !this.#isClosed; ) {
      try {
        written += (await writeAsync(this.#descriptor, bytes, written, bytes.byteLength - written, null)).bytesWritten;
      } catch (error) {
        if (errnoCode(error) !== 'EAGAIN') throw error;
        await setTimeout(RETRY_MS, undefined, { ref: false });
      }
    }
  }

  async #reopenIfNeeded(): Promise<void> {
    if (this.#isStdout) return;
    const now = performance.now();
    if (!this.#mustReopen && now - this.#checkedAt < CHECK_INTERVAL_MS) return;
    this.#checkedAt = now;
    if (!this.#mustReopen && (await isSameFile(this.#descriptor, this.#path))) return;
    this.#mustReopen = false;
    const previous = this.#descriptor;
    this.#descriptor = await openForAppending(this.#path);
    await closeDescriptor(previous);
  }

  #drop(lines: number, reason: string, error?: unknown): void {
    this.#dropped += lines;
    reportEvent('access log incomplete', `${this.#path}: ${formatCountOf(lines, 'line')} dropped: ${reason}`, error);
  }
}

async function openForAppending(path: string): Promise<number> {
  if (path !== '-') return openAsync(path, FLAGS, 0o600);
  try {
    // Opened again, because O_NONBLOCK on stdout itself would apply to all programs that share it.
    return await openAsync('/proc/self/fd/1', constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK);
  } catch {
    return STDOUT; // a socket, such as that of the journal of systemd, cannot be opened again
  }
}

async function closeDescriptor(descriptor: number): Promise<void> {
  if (descriptor !== STDOUT) await closeAsync(descriptor);
}

async function isSameFile(descriptor: number, path: string): Promise<boolean> {
  try {
    const [ours, current] = await Promise.all([fstatAsync(descriptor), statAsync(path)]);
    return ours.ino === current.ino && ours.dev === current.dev;
  } catch {
    return false;
  }
}
