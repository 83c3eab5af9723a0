import { stat } from 'node:fs/promises';
import { type SystemMemoryPressure, systemMemoryPressure } from '../../memory/pressure.js';
import { formatBytes, formatCount, formatCountOf, formatShare } from '../../util/units.js';
import { type ArtifactFile, artifactFiles } from '../artifact-files.js';
import { type Command, CommandError, maxSize, parse, UsageError } from '../command.js';
import { Progress } from '../progress.js';
import { printable } from '../terminal.js';
import { mostRecent, type WarmResult, warm } from './warm.js';

const HELP = `hotblob warm [--max-size BYTES] [--json] DIR

Reads the most recently used artifacts of DIR that are not in the page cache, so that they are: before the first builds after
a restart, for example. That counts as no use of them where they belong to who runs it. It ends when memory gets short, as
hotblob serve measures it. Run it in the cgroup of the server: page cache counts for who has read it.

  --max-size BYTES  the most recently used that fit into it, those included that are in the page cache already; K, M, G, T and
                    KiB ... TiB are understood (as much as memory has room for: 70 % of the limit less what is in use, where
                    page cache does not count as in use)
  --json            for programs, in bytes

Last used is, of files, when they were last read or written, as the file system has it; of segments, when they were written.

Exit code: 0, 1 when it has ended before all was done, or when an artifact cannot be read, 2 for arguments that it does not
take.
`;

/** What `--json` prints. */
interface WarmReport extends WarmResult {
  /** What was to be in the page cache, at most, in bytes. */
  readonly maxBytes: number;
  /** Those that fit into it. */
  readonly chosen: { readonly artifacts: number; readonly bytes: number };
}

/** `hotblob warm`. */
export const warmCommand: Command = {
  name: 'warm',
  summary: 'brings the most recently used artifacts into the page cache',
  help: HELP,
  async run(args) {
    const { values, positionals } = parse(args, { json: { type: 'boolean' }, 'max-size': { type: 'string' } });
    const [dir, ...rest] = positionals;
    if (dir === undefined || rest.length > 0) throw new UsageError('expected one directory');
    const given = maxSize(values);
    const memory = systemMemoryPressure();
    const maxBytes = given ?? memory.roomBytes;
    const interruption = new AbortController();
    // A second signal ends it at once.
    const interrupt = () => interruption.abort();
    process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
    const progress = new Progress();
    const chosen = mostRecent(await listed(dir, interruption.signal, progress), maxBytes);
    progress.clear();
    const bytes = chosen.reduce((sum, file) => sum + file.bytes, 0);
    const result = await warm(chosen, {
      memory,
      signal: interruption.signal,
      onProgress: (doneBytes) => {
        const share = bytes === 0 ? 1 : doneBytes / bytes;
        progress.show(() => `${formatShare(share)} of ${formatBytes(bytes)}`, share);
      },
    });
    progress.clear();
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    const report: WarmReport = { maxBytes, chosen: { artifacts: chosen.length, bytes }, ...result };
    process.stdout.write(values.json ? `${JSON.stringify(report, null, 2)}\n` : describe(report));
    for (const problem of problemsOf(report, memory)) process.stderr.write(`hotblob: ${problem}\n`);
    if (result.stopped !== null || result.failed.artifacts > 0) process.exitCode = 1;
  },
};

async function listed(dir: string, signal: AbortSignal, progress: Progress): Promise<ArtifactFile[]> {
  if (!(await stat(dir)).isDirectory()) {
    throw new CommandError(`${dir} is not a directory`);
  }
  const files: ArtifactFile[] = [];
  for await (const file of artifactFiles(dir)) {
    if (signal.aborted) break;
    files.push(file);
    progress.show(() => `${formatCountOf(files.length, 'artifact')} found`);
  }
  return files;
}

function describe({ chosen, read, resident }: WarmReport): string {
  const done = read.artifacts + resident.artifacts;
  return (
    `${formatCount(done)} of ${formatCountOf(chosen.artifacts, 'artifact')} (${formatBytes(chosen.bytes)}): ` +
    `${formatCount(read.artifacts)} read (${formatBytes(read.bytes)}), ` +
    `${formatCount(resident.artifacts)} in the page cache before (${formatBytes(resident.bytes)})\n`
  );
}

function problemsOf({ stopped, failed, failure }: WarmReport, memory: SystemMemoryPressure): string[] {
  const problems: string[] = [];
  if (failed.artifacts > 0 && failure !== null) {
    problems.push(`${formatCountOf(failed.artifacts, 'artifact')} cannot be read, such as: ${printable(failure)}`);
  }
  if (stopped === 'interrupted') problems.push('ended before all was done, as asked');
  if (stopped === 'pressure') problems.push(`ended before all was done: ${pressureOf(memory)}`);
  return problems;
}

function pressureOf({ sensor, level, usedBytes, limitBytes }: SystemMemoryPressure): string {
  if (sensor === 'none') return 'nobody can tell how short memory is';
  return `memory is ${level}, ${formatBytes(usedBytes)} of ${formatBytes(limitBytes)} in use (${sensor})`;
}
