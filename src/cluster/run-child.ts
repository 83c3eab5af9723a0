import { messageOf } from '../util/report-event.js';
import { setReporter } from './current-process.js';
import { type CloseReason, errorFields, type ToProcess } from './messages.js';
import { ParentLink } from './parent-link.js';
import type { ServingProcess, StartedProcess, StartProcess } from './serving-process.js';
import { StatsReporter } from './stats-reporter.js';

/** Serves in a process that the parent has started. */
export function runChild(start: StartProcess): void {
  let started: StartedProcess | undefined;
  let isEnding = false;
  const receive = (message: ToProcess): void => {
    switch (message.type) {
      case 'start':
        void begin(message.isFirst);
        break;
      case 'drain':
        // A shutdown can begin while this process drains because it has been replaced.
        if (!isEnding) void end(message.reason);
        isEnding = true;
        break;
      case 'ping':
        link.post({ type: 'pong' });
        break;
      case 'stats':
        void reporter.report(message.id);
        break;
    }
  };
  const link = new ParentLink(receive);
  const reporter = new StatsReporter(link);
  setReporter(reporter);

  const begin = async (isFirst: boolean): Promise<void> => {
    const self: ServingProcess = {
      processes: () => link.processes,
      isFirst,
      isAlone: false,
      listenOptions: (options) => link.listenOptions(options),
      notify: (data) => link.post({ type: 'notice', data }),
    };
    try {
      started = await start(self);
      await link.send({ type: 'listening', info: started.info });
    } catch (error) {
      await link.send({ type: 'failed', error: errorFields(error) });
      process.exit(1);
    }
  };

  const end = async (reason: CloseReason): Promise<void> => {
    // A process that does not serve yet has no requests to complete.
    if (started === undefined) process.exit(0);
    // Reported before `close`, because a closed store may have no statistics.
    await reporter.report();
    let code = 0;
    try {
      await started.close(reason);
    } catch (error) {
      process.stderr.write(`${messageOf(error)}\n`);
      code = 1;
    }
    await reporter.report();
    process.exit(code);
  };

  // A terminal sends its signals also to the parent, which handles them. Only SIGTERM can be meant for this process alone.
  process.on('SIGINT', () => {}).on('SIGHUP', () => {});
  process.on('SIGTERM', () => void link.send({ type: 'leave' }));
  // The parent has been killed. node:cluster ends the process by default, but the application may have changed that.
  process.once('disconnect', () => process.exit(0));
  if (!process.connected) process.exit(0);
  void link.send({ type: 'hello' });
}
