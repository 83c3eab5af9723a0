import cluster from 'node:cluster';
import { availableParallelism } from 'node:os';
import { assertOptions, countFrom, MILLISECONDS, type OptionCheck } from '../contract/validation.js';
import { messageOf } from '../util/report-event.js';
import { CHILD_VARIABLE } from './child.js';
import { runChild } from './run-child.js';
import { aloneProcess, type StartProcess } from './serving-process.js';
import { MARGIN_MS, Supervisor } from './supervisor.js';

/** Options of {@link runProcesses}. */
export interface ProcessesOptions {
  /** Number of processes; `'max'`: one for each processor that the program may use. Default: `'max'`. */
  readonly processes?: number | 'max' | undefined;
  /**
   * Time in milliseconds for requests to complete when a process is replaced or the program stops. A process that has not ended
   * 10 s after this time is killed. Default: 30,000.
   */
  readonly shutdownTimeoutMs?: number | undefined;
  /**
   * Whether the parent handles signals. SIGTERM and SIGINT stop the processes, a second one kills them, and SIGHUP restarts them one
   * by one. Default: true.
   */
  readonly signals?: boolean | undefined;
  /**
   * Receives a line, in the parent, for each process that ends unexpectedly or cannot start. Default: the line is written to
   * stderr.
   */
  readonly onProblem?: ((line: string) => void) | undefined;
  /** Receives, in the parent, the values that processes send with `notify`. Default: they are ignored. */
  readonly onNotice?: ((data: unknown, pid: number) => void) | undefined;
}

/** Controls the processes of a program, in the parent. */
export interface RunningProcesses {
  /** The value `info` that the first process has returned. */
  readonly info: unknown;
  /** How connections reach the processes. `alone`: there is only one process. */
  readonly sharing: 'reusePort' | 'node:cluster' | 'alone';
  /** Process ids of the processes that are alive. */
  readonly pids: readonly number[];
  /**
   * Replaces the processes one by one. A process ends only when its successor listens. Resolves to the number of processes that
   * have been replaced. If a successor cannot start, the remaining processes are kept. With one process, nothing happens.
   */
  restart(): Promise<number>;
  /** Lets the requests of all processes complete. Resolves when the processes have ended. */
  stop(): Promise<void>;
  /** Kills the processes. */
  kill(): void;
}

/** Default of `shutdownTimeoutMs`. */
const DEFAULT_SHUTDOWN_MS = 30_000;

const FUNCTION: OptionCheck = { expected: 'a function', accepts: (value) => typeof value === 'function' };
const COUNT = countFrom(1);

const CHECKS: Readonly<Record<keyof ProcessesOptions, OptionCheck>> = {
  processes: {
    expected: `${COUNT.expected}, or 'max'`,
    accepts: (value) => value === 'max' || COUNT.accepts(value),
  },
  shutdownTimeoutMs: { ...MILLISECONDS, accepts: (value) => value === 0 || MILLISECONDS.accepts(value) },
  signals: { expected: 'true or false', accepts: (value) => typeof value === 'boolean' },
  onProblem: FUNCTION,
  onNotice: FUNCTION,
};

/**
 * Runs a server in several processes that share its ports. The program is started again for each process. In these processes, `start`
 * is called, and the promise stays pending. In the parent, the promise resolves when all processes listen. A process that ends is
 * replaced, after a delay if this happens repeatedly. If the parent ends, the processes end, too.
 *
 * With one process, and in a process that another program has started with node:cluster, `start` is called in this process.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown option or an invalid value
 * @throws the error of `start` if a process cannot start
 */
export async function runProcesses(options: ProcessesOptions, start: StartProcess): Promise<RunningProcesses> {
  assertOptions(options, CHECKS);
  if (isChild()) {
    delete process.env[CHILD_VARIABLE]; // its own children are not processes of the cluster
    runChild(start);
    return new Promise(() => {});
  }
  const processes = processCount(options.processes);
  const running =
    processes === 1 || cluster.isWorker ? await runAlone(options, start) : await runParent({ ...options, processes });
  if (options.signals ?? true) handleSignals(running, options.shutdownTimeoutMs ?? DEFAULT_SHUTDOWN_MS);
  return running;
}

/** Returns whether {@link runProcesses} has started this process. */
export function isChild(): boolean {
  return cluster.isWorker && process.env[CHILD_VARIABLE] !== undefined;
}

/** Returns the number of processes: for `'max'`, the number of processors that the program may use. */
export function processCount(processes: number | 'max' = 'max'): number {
  return processes === 'max' ? availableParallelism() : processes;
}

async function runAlone({ onNotice }: ProcessesOptions, start: StartProcess): Promise<RunningProcesses> {
  const started = await start(aloneProcess(onNotice));
  return {
    info: started.info,
    sharing: 'alone',
    pids: [process.pid],
    restart: async () => 0,
    stop: () => started.close('shutdown'),
    kill: () => {},
  };
}

async function runParent(options: ProcessesOptions & { readonly processes: number }): Promise<RunningProcesses> {
  const supervisor = new Supervisor({
    processes: options.processes,
    shutdownTimeoutMs: options.shutdownTimeoutMs ?? DEFAULT_SHUTDOWN_MS,
    onProblem: options.onProblem ?? ((line) => process.stderr.write(`${line}\n`)),
    onNotice: options.onNotice ?? (() => {}),
  });
  const info = await supervisor.start();
  return {
    info,
    sharing: supervisor.ports.usesReusePort ? 'reusePort' : 'node:cluster',
    get pids() {
      return supervisor.pids;
    },
    restart: () => supervisor.restart(),
    stop: () => supervisor.stop(),
    kill: () => supervisor.kill(),
  };
}

function handleSignals(running: RunningProcesses, shutdownTimeoutMs: number): void {
  let isStopping = false;
  const stop = (): void => {
    if (isStopping) {
      running.kill();
      process.exit(1);
    }
    isStopping = true;
    // With one process, there is no parent that kills it.
    if (running.sharing === 'alone') setTimeout(() => process.exit(1), shutdownTimeoutMs + MARGIN_MS).unref();
    running.stop().then(
      () => process.exit(),
      (error: unknown) => {
        process.stderr.write(`${messageOf(error)}\n`);
        process.exit(1);
      },
    );
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop);
  process.on('SIGHUP', () => void running.restart());
}
