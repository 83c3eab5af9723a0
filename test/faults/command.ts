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

  /** Starts the process. The store is in a directory of its name below `directory`. */
  static async start(
    directory: string,
    store: 'segments' | 'directory',
    { tls = false, maxSize, environment = {} }: CommandOptions = {},
  ): Promise<Command> {
    const args = ['--dir', `${directory}/${store}`, '--store', store, '--port', '0'];
    if (maxSize !== undefined) args.push('--max-size', maxSize);
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

  /** Sends a signal, waits for the exit, and starts the process again. Resolves to the exit code or signal. */
  async restart(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string> {
    const outcome = await this.stop(signal);
    await this.#launch();
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

  /** Returns the anonymous memory of the process in bytes. */
  anonymousBytes(): number {
    const status = readFileSync(`/proc/${this.#running().pid}/status`, 'latin1');
    return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
  }

  descriptors(): number {
    return readdirSync(`/proc/${this.#running().pid}/fd`).length;
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
