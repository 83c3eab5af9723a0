// Child processes of the benchmark. Servers and load generators are pinned to different cores. All children end with the
// benchmark.

import { type ChildProcess, execFile, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ClientsReport } from './clients.js';
import type { ServerCommand, ServerConfig, ServerReady, ServerReport } from './server.js';

/** Aborted when the benchmark is interrupted. Ends every child. */
export const interruption = new AbortController();

const REPLY_TIMEOUT_MS = 30_000;
/** Unit of CPU time in /proc. */
export const MICROSECONDS_PER_TICK =
  1e6 / Number(spawnSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }).stdout || 100);

type Role = 'server' | 'load';

/** CPU core of each role. Undefined if processes cannot be pinned to two different cores. */
export const cores = chooseCores();

function chooseCores(): Readonly<Record<Role, number>> | undefined {
  if (!isInstalled('taskset')) return undefined;
  // A container may be restricted to any of the cores.
  const [, list = ''] = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  const allowed = list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  const [server, load] = allowed;
  return server === undefined || load === undefined ? undefined : { server, load };
}

/** Returns whether a command is in PATH. */
export function isInstalled(command: string): boolean {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).error === undefined;
}

/** Runs a load generator. Resolves to its output, and rejects after `timeoutMs`. */
export async function runLoad(command: string, args: readonly string[], timeoutMs: number): Promise<string> {
  const [file, ...all] = [...pinning('load'), command, ...args];
  const { signal } = interruption;
  const { stdout } = await promisify(execFile)(file ?? command, all, {
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    signal,
  });
  return stdout;
}

/** Starts a module of this folder as a child process with an IPC channel. */
export function startChild(role: Role, module: string, config: unknown): ChildProcess {
  const [execPath = process.execPath, ...execArgv] = [...pinning(role), process.execPath, ...process.execArgv];
  const path = fileURLToPath(new URL(module, import.meta.url));
  const { signal } = interruption;
  const child = fork(path, [JSON.stringify(config)], { execPath, execArgv, signal });
  child.on('error', () => {}); // emitted on an interruption; nextMessage() rejects when the child exits
  return child;
}

function pinning(role: Role): string[] {
  return cores === undefined ? [] : ['taskset', '-c', String(cores[role])];
}

/** Resolves to the next message of a child. Rejects if it exits, or sends nothing within `timeoutMs`. */
export function nextMessage<T>(child: ChildProcess, timeoutMs = REPLY_TIMEOUT_MS): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      child.off('message', onMessage);
      child.off('exit', onExit);
      act();
    };
    const onMessage = (message: unknown): void => settle(() => resolve(message as T));
    const onExit = (code: number | null, signal: string | null): void =>
      settle(() => reject(new Error(`a child exited early (${signal ?? `exit code ${code}`})`)));
    const timer = setTimeout(
      () => settle(() => reject(new Error(`a child sent no message within ${timeoutMs} ms`))),
      timeoutMs,
    );
    child.on('message', onMessage);
    child.on('exit', onExit);
  });
}

export async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

/**
 * Runs clients in a child process, and calls `use` with their report. Clients that keep connections open stay until `use` has
 * finished. Rejects if the child exits earlier.
 */
export async function withClients<T>(
  module: string,
  config: { readonly timeoutMs: number },
  use: (report: ClientsReport) => T | Promise<T>,
): Promise<T> {
  const child = startChild('load', module, config);
  try {
    const result = await use(await nextMessage<ClientsReport>(child, 2 * config.timeoutMs));
    if (child.exitCode !== null) throw new Error('the client process exited before the measurement was complete');
    return result;
  } finally {
    await stopChild(child);
  }
}

/** A running server process. */
export class Server {
  readonly config: ServerConfig;
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(config: ServerConfig, port: number, child: ChildProcess) {
    this.config = config;
    this.port = port;
    this.#child = child;
  }

  static async start(config: ServerConfig): Promise<Server> {
    const child = startChild('server', './server.ts', config);
    try {
      const { port } = await nextMessage<ServerReady>(child);
      return new Server(config, port, child);
    } catch (cause) {
      await stopChild(child);
      throw new Error(`the server for ${config.contender} did not start`, { cause });
    }
  }

  url(name: string): string {
    return `http://127.0.0.1:${this.port}/${name}`;
  }

  query(command: ServerCommand): Promise<ServerReport> {
    const response = nextMessage<ServerReport>(this.#child);
    this.#child.send(command);
    return response;
  }

  /** Returns the user and system CPU time since the start (fields 14 and 15 of proc_pid_stat(5)). */
  cpuMicroseconds(): number {
    const text = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8');
    // The second field is a name in parentheses that may contain spaces. The array starts with the third field.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * MICROSECONDS_PER_TICK;
  }

  anonymousBytes(): number {
    const [, kib] = /^RssAnon:\s*(\d+) kB/m.exec(readFileSync(`/proc/${this.#child.pid}/status`, 'utf8')) ?? [];
    if (kib === undefined) throw new Error(`no RssAnon in /proc/${this.#child.pid}/status`);
    return Number(kib) * 1024;
  }

  stop(): Promise<void> {
    return stopChild(this.#child);
  }
}

/** Starts a server for each configuration, and stops all servers after `use`. */
export async function withServers<T>(
  configs: readonly ServerConfig[],
  use: (servers: readonly Server[]) => Promise<T>,
): Promise<T> {
  const servers: Server[] = [];
  try {
    for (const config of configs) servers.push(await Server.start(config));
    return await use(servers);
  } finally {
    for (const server of servers) await server.stop();
  }
}
