import type { ListenOptions } from 'node:net';
import type { CloseReason } from './messages.js';

/** Process that serves, as `start` receives it. */
export interface ServingProcess {
  /** Returns the number of processes that are alive. Pass it as the option `processes` to handlers and servers. */
  readonly processes: () => number;
  /** Whether this is the first process of the program. It reports the problems that all processes have, such as wrong options. */
  readonly isFirst: boolean;
  /** Whether the program has only this process. */
  readonly isAlone: boolean;
  /**
   * Resolves to the options of `server.listen()` with which all processes listen on one port. For port 0, all of them get the same
   * free port, and each call in a process gets another one. All processes must make these calls in the same order. Options with `path` or `fd` are returned unchanged, because `listen` shares these itself.
   *
   * @throws the system error if the port cannot be used, such as `EADDRINUSE`
   */
  listenOptions(options: ListenOptions): Promise<ListenOptions>;
  /** Sends a value to `onNotice` in the parent. It must be supported by the structured clone algorithm. */
  notify(data: unknown): void;
}

/** Result of the function that starts to serve in a process. */
export interface StartedProcess {
  /**
   * Lets the requests in flight complete. The process ends when the promise resolves. If the reason is `replaced`, close the port at
   * once, because another process accepts the new connections.
   */
  close(reason: CloseReason): Promise<void>;
  /** Value for the parent, supported by the structured clone algorithm. `info` of `RunningProcesses` is that of the first process. */
  readonly info?: unknown;
}

/** Starts to serve in a process. Resolves when its server listens. */
export type StartProcess = (process: ServingProcess) => Promise<StartedProcess>;

/** Returns the process of a program that has only one process. */
export function aloneProcess(onNotice: (data: unknown, pid: number) => void = () => {}): ServingProcess {
  return {
    processes: () => 1,
    isFirst: true,
    isAlone: true,
    listenOptions: async (options) => options,
    notify: (data) => onNotice(data, process.pid),
  };
}
