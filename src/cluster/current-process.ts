import { StatsReporter } from './stats-reporter.js';

let reporter: StatsReporter | undefined;

/** Returns the reporter of this process. */
export function currentReporter(): StatsReporter {
  reporter ??= new StatsReporter(undefined);
  return reporter;
}

/** Sets the reporter of a process that has a parent, before the application uses it. */
export function setReporter(linked: StatsReporter): void {
  reporter = linked;
}
