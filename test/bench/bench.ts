// `npm run bench`: compares hotblob with its alternatives. All values of a row are measured in the same run. Requires Linux.

import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, loadavg, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cores, interruption, isInstalled } from './children.js';
import { cold } from './cold.js';
import type { BenchContext } from './context.js';
import { cpu } from './cpu.js';
import { far } from './far.js';
import { writeFiles } from './files.js';
import { frameworks } from './frameworks.js';
import { HOT_FILES, hotHttp1, hotHttp2 } from './hot.js';
import { memory } from './memory.js';
import { monitoring } from './monitoring.js';
import { port } from './port.js';
import { processes } from './processes.js';
import { type Line, tableOf } from './table.js';

const GROUPS: Readonly<Record<string, (context: BenchContext) => Promise<Line[]>>> = {
  'hot-h1': hotHttp1,
  'hot-h2': hotHttp2,
  cpu,
  cold,
  memory,
  port,
  far,
  frameworks,
  monitoring,
  processes,
};
/** External load generators, and the Debian packages that contain them. */
const TOOLS = [
  { command: 'wrk', debianPackage: 'wrk', groups: ['hot-h1', 'port', 'frameworks', 'monitoring'] },
  { command: 'h2load', debianPackage: 'nghttp2-client', groups: ['hot-h2', 'cpu', 'port', 'processes'] },
] as const;

async function main(): Promise<void> {
  const { only, quick } = options();
  const needed = TOOLS.filter(({ groups }) => groups.some((group) => only.includes(group)));
  const missing = needed.filter(({ command }) => !isInstalled(command));
  for (const { command, debianPackage } of missing) {
    console.error(`${command} is missing: apt-get install ${debianPackage}`);
  }
  if (missing.length > 0) {
    process.exitCode = 1;
    return;
  }
  describeMachine();
  const directory = await mkdtemp(join(tmpdir(), 'hotblob-bench-'));
  const skipped: string[] = [];
  const lines: Line[] = [];
  try {
    const hotDirectory = join(directory, 'hot');
    await writeFiles(hotDirectory, HOT_FILES);
    const context: BenchContext = {
      directory,
      hotDirectory,
      isQuick: quick,
      progress: (workload) => console.error(`${workload} ...`),
      skip(workload, reason) {
        skipped.push(`Not measured: ${workload}: ${reason}.`);
        return [];
      },
    };
    for (const group of only) lines.push(...((await GROUPS[group]?.(context)) ?? []));
  } finally {
    // If a workload fails, the results of the others are still printed.
    console.log(tableOf(lines));
    for (const note of skipped) console.log(`\n${note}`);
    await rm(directory, { recursive: true, force: true });
  }
}

function options(): { only: string[]; quick: boolean } {
  const { values } = parseArgs({ options: { only: { type: 'string', multiple: true }, quick: { type: 'boolean' } } });
  const names = Object.keys(GROUPS);
  const unknown = values.only?.find((group) => !names.includes(group));
  if (unknown !== undefined) throw new Error(`--only: expected one of ${names.join(', ')}, received '${unknown}'`);
  return { only: values.only ?? names, quick: values.quick ?? false };
}

function describeMachine(): void {
  const { length } = cpus();
  const pinned =
    cores === undefined ? 'not pinned' : `servers on core ${cores.server}, load generators on core ${cores.load}`;
  const load = loadavg()[0]?.toFixed(1);
  console.log(`Node ${process.versions.node}, Linux ${release()}, ${length} x ${cpus()[0]?.model.trim()}, ${pinned}`);
  console.log(
    `Load average at the start: ${load}. "ratio" compares the best rounds, "median" is the median ratio of all rounds.\n`,
  );
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interruption.abort());

try {
  await main();
} catch (error) {
  console.error(interruption.signal.aborted ? 'interrupted' : error);
  process.exitCode = 1;
}
