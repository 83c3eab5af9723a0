import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { type Certificate, certificate } from '../helpers/certificate.js';
import { KINDS, type RunningServer } from '../helpers/servers.js';

/**
 * Small young generation, in megabytes. V8 grows it slowly to 16 MB and more, and malloc grows the arena of each thread,
 * which looks like a leak within ten minutes. With these options and one arena, only a leak makes the memory grow.
 */
const V8_OPTIONS = ['--max-semi-space-size=2'];

export interface CommandOptions {
  readonly tls?: boolean;
  /** Value of `--max-size`. */
  readonly maxSize?: string;
  /** Value of `--processes`. */
  readonly processes?: number;
  /** Environment variables in addition to those of this process. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Process of `hotblob serve` that can be stopped and restarted. */
export class Command {
  /** Everything that the process has written to stderr. */
  stderr = '';
  readonly #args: readonly string[];
  readonly #environment: Readonly<Record<string, string>>;
  readonly #tls: Certificate | undefined;
  #child: ChildProcess | undefined;
  #clients: readonly RunningServer[] = [];
  /** Value of `performance.now()` until which requests could fail. */
  #disturbedUntil = 0;

  /** Starts the process. The store is in a directory of its name below `directory`. */
  static async start(
    directory: string,
    store: 'segments' | 'directory',
    { tls = false, maxSize, processes, environment = {} }: CommandOptions = {},
  ): Promise<Command> {
    const args = ['--dir', `${directory}/${store}`, '--store', store, '--port', '0'];
    if (maxSize !== undefined) args.push('--max-size', maxSize);
    if (processes !== undefined) args.push('--processes', String(processes));
    const pair = tls ? await certificate() : undefined;
    if (pair !== undefined) {
      await writeFile(`${directory}/cert.pem`, pair.cert);
      await writeFile(`${directory}/key.pem`, pair.key);
      args.push('--tls-cert', `${directory}/cert.pem`, '--tls-key', `${directory}/key.pem`);
    }
    const command = new Command(args, pair, environment);
    await command.#launch();
    return command;
  }

  private constructor(
    args: readonly string[],
    tls: Certificate | undefined,
    environment: CommandOptions['environment'],
  ) {
    this.#args = args;
    this.#tls = tls;
    this.#environment = { ...environment };
  }

  /** The server as HTTP/1.1 clients and as HTTP/2 clients reach it. Empty during a restart. */
  get clients(): readonly RunningServer[] {
    return this.#clients;
  }

  /** Whether requests that began at `since`, a value of `performance.now()`, can have failed, because processes were stopped. */
  isDisturbedSince(since: number): boolean {
    return this.#disturbedUntil >= since;
  }

  /** Runs a task that makes requests fail until it is complete. */
  async disturb(task: () => Promise<void>): Promise<void> {
    this.#disturbedUntil = Number.POSITIVE_INFINITY;
    await task();
    this.#disturbedUntil = performance.now();
  }

  /**
   * Sends a signal, waits for the exit, and starts the process again. Resolves to the exit code or signal.
   *
   * @param onStopped called before the process is started again
   */
  async restart(
    signal: 'SIGTERM' | 'SIGKILL',
    onStopped: () => Promise<void> = async () => {},
  ): Promise<number | string> {
    let outcome: number | string = '';
    await this.disturb(async () => {
      outcome = await this.stop(signal);
      await onStopped();
      await this.#launch();
    });
    return outcome;
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string> {
    this.#clients = [];
    const child = this.#running();
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      child.kill(signal);
      await exited;
    }
    return child.exitCode ?? child.signalCode ?? '';
  }

  /** Process id of the process, which is the parent of the others with `processes`. */
  get pid(): number {
    return this.#running().pid ?? 0;
  }

  /** Returns the process ids of the processes that this process has started. */
  children(): number[] {
    const { pid } = this;
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
    return text.split(' ').filter(Boolean).map(Number);
  }

  /** Returns the anonymous memory of the process, or of another one, in bytes. */
  anonymousBytes(pid = this.pid): number {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
  }

  descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  #running(): ChildProcess {
    if (this.#child === undefined) throw new Error('the server has not been started');
    return this.#child;
  }

  async #launch(): Promise<void> {
    const child = spawn(process.execPath, [...V8_OPTIONS, 'dist/cli.js', 'serve', ...this.#args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, MALLOC_ARENA_MAX: '1', ...this.#environment },
    });
    this.#child = child;
    child.stderr.on('data', (text) => {
      this.stderr += text;
    });
    const { value: line = '' } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
    const port = Number(/:(\d+)/.exec(line.split('://')[1] ?? '')?.[1]);
    if (!(port > 0)) throw new Error(`the server did not start: ${line} ${this.stderr}`);
    const kinds = this.#tls === undefined ? (['port-http', 'port-h2c'] as const) : (['port-https', 'port-h2'] as const);
    this.#clients = kinds.map((kind) => ({ ...KINDS[kind], kind, port, certificate: this.#tls }));
  }
}
