import { readdir, stat } from 'node:fs/promises';
import type * as PromClient from 'prom-client';

const NAME = 'process_open_fds';
const DESCRIPTORS = '/proc/self/fd';

/**
 * Replaces the default metric `process_open_fds` of `prom-client`, which lists the descriptors synchronously. With the thousands
 * of descriptors that a handler may keep open, the listing blocks the event loop for milliseconds.
 */
export function countDescriptorsAsync(
  { Gauge }: Pick<typeof PromClient, 'Gauge'>,
  register: PromClient.Registry,
): void {
  // There is none where the system has no /proc.
  if (register.getSingleMetric(NAME) === undefined) return;
  register.removeSingleMetric(NAME);
  new Gauge({
    name: NAME,
    help: 'Number of open file descriptors.',
    registers: [register],
    async collect() {
      this.set(await countDescriptors());
    },
  });
}

async function countDescriptors(): Promise<number> {
  try {
    const { size } = await stat(DESCRIPTORS); // the number of descriptors since Linux 6.2, before that 0
    return size > 0 ? size : (await readdir(DESCRIPTORS)).length - 1;
  } catch {
    return Number.NaN; // the process has no descriptor left to list them
  }
}
