import { runProcesses } from '../../cluster/run-processes.js';
import { CommandError } from '../command.js';
import { EventLog } from './event-log.js';
import { noticeOf, ProcessLog } from './process-log.js';
import { type RunningServer, type ServeOptions, serve } from './serve.js';

/**
 * Serves in several processes. In the parent, resolves when all of them listen. In the processes, stays pending.
 *
 * @param events log of the parent
 * @param write writes a line to the log of the parent
 */
export async function serveInProcesses(
  options: ServeOptions,
  events: EventLog,
  write: (line: string) => void,
): Promise<RunningServer> {
  const { processes, shutdownTimeoutMs } = options;
  const log = new ProcessLog(events, write);
  const running = await runProcesses(
    {
      processes,
      shutdownTimeoutMs,
      signals: false,
      onProblem: write,
      onNotice: (data, pid) => log.receive(data, pid),
    },
    async (self) => {
      events.close();
      new EventLog((line, event) => self.notify(noticeOf(line, event))).open();
      const server = await serve(options, self, (line) => self.notify({ line }));
      const { description, port } = server;
      return { info: { description, port }, close: (reason) => server.close(reason) };
    },
  ).catch((error: unknown) => {
    throw isCommandError(error) ? new CommandError(error.message) : error;
  });
  const { description, port } = running.info as Pick<RunningServer, 'description' | 'port'>; // returned above
  let restart: Promise<number> | undefined;
  return {
    description,
    port,
    reload: async () => {
      const current = running.restart();
      if (current === restart) return; // an earlier call reports the result
      restart = current;
      const count = await current;
      if (count > 0) write(`restarted: ${count} of ${processes} processes were replaced`);
    },
    close: () => running.stop(),
    kill: () => running.kill(),
  };
}

/** Whether a process has failed with an error whose message is for the user. */
function isCommandError(error: unknown): error is Error {
  return error instanceof Error && error.name === CommandError.name;
}
