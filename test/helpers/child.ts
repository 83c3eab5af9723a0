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
  /** `fixed`: pressure is always normal. `measured`: pressure is measured, as in production. Default: `fixed`. */
  readonly memory?: 'fixed' | 'measured';
  /** Limit of descriptors. Applied after the modules are loaded, because loading opens many files. */
  readonly maxDescriptors?: number;
  /** Adds the keys below `odd/` of {@link oddStore}. */
  readonly odd?: boolean;
  /** Serves {@link echoStore} instead of the files, with every protocol that `hotblob serve` supports. */
  readonly echo?: boolean;
  /** User and group ID of the process. Requires root. */
  readonly userId?: number;
}

/**
 * Message to the child, which answers with its state. `holdBytes`: memory that the child must have allocated in addition to its
 * own. `evict`: path of a file to evict from the page cache, including pages that the child has mapped.
 */
export type ToChild = { readonly id: number; readonly holdBytes?: number; readonly evict?: string };
export interface ChildState {
  /** `handler.stats()`. */
  readonly stats: HandlerStats;
  /** Measured memory of the process. Undefined unless `memory` is `measured`. */
  readonly memory: Pick<SystemMemoryPressure, 'sensor' | 'limitBytes' | 'usedBytes' | 'headroomBytes'> | undefined;
}
export type FromChild = { readonly server: RunningServer } | ({ readonly id: number } & ChildState);

const PROGRAM = fileURLToPath(new URL('./child-server.ts', import.meta.url));

/** A server in a child process, so that a test can inspect the process and let it crash. */
export class ChildServer {
  readonly process: ChildProcess;
  readonly server: RunningServer;
  #lastId = 0;

  /** @param launcher shell code in front of the command line, for example `ulimit -v 1000000; exec` */
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
        throw new Error(`the server did not start: exit code ${code}`);
      }),
    ]);
    if (message === undefined || !('server' in message)) throw new Error('the first message of the server has no port');
    return new ChildServer(child, message.server);
  }

  private constructor(child: ChildProcess, server: RunningServer) {
    this.process = child;
    this.server = server;
  }

  get isAlive(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  /** Returns `handler.stats()` after a garbage collection. */
  async stats(): Promise<HandlerStats> {
    return (await this.#query({})).stats;
  }

  /** Makes the process allocate `holdBytes` in addition to its own memory, and returns its state afterwards. */
  async hold(holdBytes: number): Promise<ChildState> {
    return this.#query({ holdBytes });
  }

  /** Evicts a file from the page cache, including pages that the process has mapped. */
  async evict(path: string): Promise<void> {
    await this.#query({ evict: path });
  }

  async #query(request: Omit<ToChild, 'id'>): Promise<ChildState> {
    const id = ++this.#lastId;
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
    throw new Error('the server did not respond');
  }

  /** Returns the anonymous resident memory in bytes (RssAnon, proc(5)). */
  anonymousBytes(): number {
    const status = readFileSync(`/proc/${this.process.pid}/status`, 'latin1');
    return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
  }

  /** Returns the number of open descriptors. */
  descriptors(): number {
    return readdirSync(`/proc/${this.process.pid}/fd`).length;
  }
}
