import { type Command, parse } from '../command.js';
import { examine } from './doctor.js';
import { describe } from './text.js';

const HELP = `hotblob doctor [--json] [DIR...]

Says what is at work on this machine (mappings, copies from the page cache, memory pressure, limits), what serving each DIR
comes to, and the one thing that would improve it most. Nothing is changed.

  --json  for programs

Exit code: 0, 1 when one of the directories cannot be served, 2 for arguments that it does not take.
`;

/** `hotblob doctor`, of this version of the package. */
export function doctorCommand(version: string): Command {
  return {
    name: 'doctor',
    summary: 'says what is at work here, and what would improve it',
    help: HELP,
    async run(args) {
      const { values, positionals } = parse(args, { json: { type: 'boolean' } });
      const diagnosis = await examine(version, positionals);
      process.stdout.write(values.json ? `${JSON.stringify(diagnosis, null, 2)}\n` : describe(diagnosis));
      if (diagnosis.directories.some(({ problem }) => problem !== null)) process.exitCode = 1;
    },
  };
}
