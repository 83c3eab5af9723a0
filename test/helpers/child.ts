import { type ChildProcess, spawn } from 'node:child_process';
import { on, once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import type { FileArtifact } from '../../src/contract/artifact.js';
import type { HandlerOptions } from '../../src/handler/options.js';
import type { HandlerStats } from '../../src/handler/stats.js';
import type { SystemMemoryPressure } from '../../src/memory/pressure.js';
import type { Kind, RunningServer } from './servers.js';
import type { TestOptions } from './sources.js';

export interface ChildServerOptions extends Omit<TestOptions<HandlerOptions>, 'store' | 'memory'> {
  readonly kind: Kind;
  readonly directory: string;
  readonly artifact?: Partial<FileArtifact>;
  readonly headroomBytes?: number;
  /** Default: `fixed`, at ease on every machine. `measured`: what the process finds, as a host's would. */
  readonly memory?: 'fixed' | 'measured';
  /** How many descriptors it may have, from when its code has been loaded: that alone needs more than a few. */
  readonly maxDescriptors?: number;
  /** What {@link oddStore} does stands below `odd/`, beside the files. */
  readonly odd?: boolean;
  /** {@link echoStore} takes the place of the files, with every protocol that `hotblob serve` speaks. */
  readonly echo?: boolean;
  /** Whom the process becomes, when it is root. */
  readonly userId?: number;
}

/**
 * What is asked of the process; with `holdBytes` it allocates memory, or lets it go, until it holds so much; with `evict` it
 * takes a file out of the page cache, its own mappings of it included.
 */
export type ToChild = { readonly id: number; readonly holdBytes?: number; readonly evict?: string };
export interface ChildState {
  /** `handler.stats()`. */
  readonly stats: HandlerStats;
  /** What the process finds of its memory; undefined where nothing is measured. */
  readonly memory: Pick<SystemMemoryPressure, 'sensor' | 'limitBytes' | 'usedBytes' | 'headroomBytes'> | undefined;
}
export type FromChild = { readonly server: RunningServer } | ({ readonly id: number } & ChildState);

const PROGRAM = fileURLToPath(new URL('./child-server.ts', import.meta.url));

/** A server in a process of its own: it may be watched from outside, and may die. */
export class ChildServer {
  readonly process: ChildProcess;
  readonly server: RunningServer;
  #asked = 0;

  /** `launcher` is what the shell runs with the program's command line behind it. */
  static async start(
    t: Pick<ExecutionContext, 'teardown'>,
    options: ChildServerOptions,
    launcher = 'exec',
  ): Promise<ChildServer> {
    const node = [process.execPath, '--import=tsx', '--expose-gc', PROGRAM, JSON.stringify(options)];
    const child = spawn('bash', ['-c', `${launcher} "$0" "$@"`, ...node], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    const [message] = await Promise.race([
      once(child, 'message') as Promise<FromChild[]>,
      once(child, 'exit').then(([code]) => {
        throw new Error(`the server has not started: it ended with ${code}`);
      }),
    ]);
    if (message === undefined || !('server' in message)) throw new Error('the server says no port');
    return new ChildServer(child, message.server);
  }

  private constructor(child: ChildProcess, server: RunningServer) {
    this.process = child;
    this.server = server;
  }

  get isAlive(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  /** `handler.stats()`, after a collection of garbage. */
  async stats(): Promise<HandlerStats> {
    return (await this.#ask({})).stats;
  }

  /** Makes the process hold `holdBytes` of memory besides its own, and says how it stands then. */
  async hold(holdBytes: number): Promise<ChildState> {
    return this.#ask({ holdBytes });
  }

  /** Takes a file out of the page cache, whatever the process has mapped of it. */
  async evict(path: string): Promise<void> {
    await this.#ask({ evict: path });
  }

  async #ask(request: Omit<ToChild, 'id'>): Promise<ChildState> {
    const id = ++this.#asked;
    const ended = new AbortController();
    const end = (): void => ended.abort(new Error(`the server has ended: ${this.process.signalCode}`));
    this.process.once('exit', end);
    const messages = on(this.process, 'message', {
      signal: AbortSignal.any([ended.signal, AbortSignal.timeout(60_000)]),
    });
    try {
      this.process.send({ id, ...request } satisfies ToChild);
      for await (const [message] of messages as AsyncIterable<[FromChild]>) {
        if ('id' in message && message.id === id) return message;
      }
    } finally {
      this.process.off('exit', end);
    }
    throw new Error('the server does not answer');
  }

  /** Anonymous memory, in bytes, as the kernel counts it. */
  anonymousBytes(): number {
    const status = readFileSync(`/proc/${this.process.pid}/status`, 'latin1');
    return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
  }
  /** How many descriptors it has open. */
  descriptors(): number {
    return readdirSync(`/proc/${this.process.pid}/fd`).length;
  }
}
