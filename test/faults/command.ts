import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { type Certificate, certificate } from '../helpers/certificate.js';
import { KINDS, type RunningServer } from '../helpers/servers.js';

/**
 * In megabytes. V8's young generation takes its time to grow to 16 and more, and each thread's arena of malloc to its size,
 * which in ten minutes looks like a leak. Where the one is small, and one arena is for all, what grows then is one.
 */
const V8_OPTIONS = ['--max-semi-space-size=2'];

export interface CommandOptions {
  readonly tls?: boolean;
  /** As `--max-size` has it. */
  readonly maxSize?: string;
  /** Variables beside those of this process. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** `hotblob serve` over a directory, for clients of HTTP/1.1 and HTTP/2; may be ended and started again. */
export class Command {
  /** All that it has written to stderr. */
  stderr = '';
  readonly #args: readonly string[];
  readonly #environment: Readonly<Record<string, string>>;
  readonly #tls: Certificate | undefined;
  #child: ChildProcess | undefined;
  #clients: readonly RunningServer[] = [];

  /** The store is in a directory of its name below `directory`. */
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

  /** The server as clients of HTTP/1.1 and of HTTP/2 know it. Empty while it is being started again. */
  get clients(): readonly RunningServer[] {
    return this.#clients;
  }

  /** Ends it with a signal and starts it again. Resolves to its exit code, or the signal's name. */
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

  /** Anonymous memory, in bytes, as the kernel counts it. */
  anonymousBytes(): number {
    const status = readFileSync(`/proc/${this.#running().pid}/status`, 'latin1');
    return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
  }

  descriptors(): number {
    return readdirSync(`/proc/${this.#running().pid}/fd`).length;
  }

  #running(): ChildProcess {
    if (this.#child === undefined) throw new Error('not started');
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
    if (!(port > 0)) throw new Error(`the server has not started: ${line} ${this.stderr}`);
    const kinds = this.#tls === undefined ? (['port-http', 'port-h2c'] as const) : (['port-https', 'port-h2'] as const);
    this.#clients = kinds.map((kind) => ({ ...KINDS[kind], kind, port, certificate: this.#tls }));
  }
}
