import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { NamedStats, ProcessStats } from './sum-stats.js';

const RESOLUTION_MS = 20;
const NANOSECONDS = 1e6;

/** Measures this process. */
export class ProcessMeter {
  #histogram: IntervalHistogram | undefined;
  #eventLoopDelayMs = 0;

  /** Ends the interval over which the delay of the event loop is measured, and begins the next one. */
  tick(): void {
    this.#histogram ??= startHistogram();
    const { count } = this.#histogram;
    // The histogram contains the times between two timers, which include the resolution.
    const delayMs = this.#histogram.percentile(99) / NANOSECONDS - RESOLUTION_MS;
    this.#eventLoopDelayMs = count === 0 ? 0 : Math.max(0, delayMs);
    this.#histogram.reset();
  }

  /** Ends the measurement. */
  close(): void {
    this.#histogram?.disable();
    this.#histogram = undefined;
  }

  stats({ handlers, servers }: NamedStats): ProcessStats {
    const { rss, heapUsed } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    const all = Object.values(handlers);
    return {
      pid: process.pid,
      uptimeSeconds: Math.round(process.uptime()),
      responses: sum(all.flatMap(({ responses }) => Object.values(responses))),
      active: sum(all.map(({ active }) => active)),
      connections: sum(Object.values(servers).flatMap(({ connections }) => Object.values(connections))),
      cpuSeconds: (user + system) / 1e6,
      eventLoopDelayMs: Math.round(this.#eventLoopDelayMs * 10) / 10,
      residentBytes: rss,
      heapBytes: heapUsed,
    };
  }
}

function startHistogram(): IntervalHistogram {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  return histogram;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
