import type { ListenOptions } from 'node:net';
import type { CloseReason } from './messages.js';

/** This process, one of those that serve. */
export interface ServingProcess {
  /** Returns the number of processes that are alive. It is the option `processes` of handlers and servers. */
  readonly processes: () => number;
  /** Whether this is the first process of the program. It reports what all of them would, for example mistakes in options. */
  readonly isFirst: boolean;
  /** Whether the program has only this process. */
  readonly isAlone: boolean;
  /**
   * Resolves to the options of `server.listen()` with which all processes listen on one port. Port 0 is the same free port for
   * all.
   *
   * @throws the system error if the port cannot be used, such as `EADDRINUSE`
   */
  listenOptions(options: ListenOptions): Promise<ListenOptions>;
  /** Sends a value, which can be cloned, to `onNotice` in the parent. */
  notify(data: unknown): void;
}

/** What the function that starts a process returns. */
export interface StartedProcess {
  /**
   * Lets the requests in flight complete. The process ends when the promise resolves. If the reason is `replaced`, another process
   * accepts the new connections, so this one should close its port at once.
   */
  close(reason: CloseReason): Promise<void>;
  /** Value for the parent, which can be cloned. The one of the first process is `info` of `RunningProcesses`. */
  readonly info?: unknown;
}

/** Starts to serve in a process. Resolves when its server listens. */
export type StartProcess = (process: ServingProcess) => Promise<StartedProcess>;

/** Returns the process of a program that has only one. */
export function aloneProcess(onNotice: (data: unknown, pid: number) => void = () => {}): ServingProcess {
  return {
    processes: () => 1,
    isFirst: true,
    isAlone: true,
    listenOptions: async (options) => options,
    notify: (data) => onNotice(data, process.pid),
  };
}
