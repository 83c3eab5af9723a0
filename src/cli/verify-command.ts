import { realpath, stat } from 'node:fs/promises';
import { assertNoSegments, holdsSegmentStore } from '../stores/segments/layout.js';
import { verifySegments } from '../stores/segments/verify.js';
import { printable } from '../util/printable.js';
import { formatCountOf } from '../util/units.js';
import { type Command, CommandError, parseArguments, UsageError } from './command.js';

const HELP = `Usage: hotblob verify DIR

Compares every artifact of the segment store in DIR with its checksum and prints one line for each
corrupt artifact. Changes nothing, so a server may run at the same time.

Exit code: 0 if all artifacts are intact, 1 if one is corrupt or DIR contains no segment store,
2 if the arguments are invalid.
`;

async function describeOther(dir: string): Promise<string> {
  const stats = await stat(dir); // throws if there is nothing
  if (stats.isDirectory()) await assertNoSegments(await realpath(dir)); // throws for segments without an index
  return stats.isDirectory()
    ? `${dir}: expected a segment store; a directory with one file per artifact has no checksums to compare`
    : `${dir}: expected the directory of a segment store, found a file`;
}

export const verifyCommand: Command = {
  name: 'verify',
  summary: 'Compare the artifacts of a segment store with their checksums',
  help: HELP,
  async run(args) {
    const [dir, ...rest] = parseArguments(args, {}).positionals;
    if (dir === undefined || rest.length > 0) throw new UsageError('expected one directory');
    if (!(await holdsSegmentStore(dir))) throw new CommandError(await describeOther(dir));
    const findings = verifySegments(dir);
    let problems = 0;
    let next = await findings.next();
    for (; !next.done; next = await findings.next()) {
      process.stdout.write(`${printable(next.value.message)}\n`);
      problems++;
      process.exitCode = 1;
    }
    const { artifacts, bytes } = next.value;
    const result = problems === 0 ? 'no problems found' : `${formatCountOf(problems, 'problem')} found`;
    process.stdout.write(`${formatCountOf(artifacts, 'artifact')}, ${formatCountOf(bytes, 'byte')}: ${result}\n`);
  },
};
