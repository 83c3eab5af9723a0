import { printableJson } from '../../util/printable.js';
import { type Command, parseArguments } from '../command.js';
import { diagnose } from './doctor.js';
import { formatDiagnosis } from './text.js';

const HELP = `Usage: hotblob doctor [options] [DIR...]

Shows which features work on this machine (mapping, page-cache copies, memory pressure, limits), how each
DIR would be served, and the command that would improve it most. Changes nothing.

Options:
  --json  Print JSON

Exit code: 0 on success, 1 if a DIR cannot be served, 2 if the arguments are invalid.
`;

/** @param version version of this package */
export function doctorCommand(version: string): Command {
  return {
    name: 'doctor',
    summary: 'Check this machine and its directories, and suggest an improvement',
    help: HELP,
    async run(args) {
      const { values, positionals } = parseArguments(args, { json: { type: 'boolean' } });
      const diagnosis = await diagnose(version, positionals);
      process.stdout.write(values.json ? `${printableJson(diagnosis, 2)}\n` : formatDiagnosis(diagnosis));
      if (diagnosis.directories.some(({ problem }) => problem !== null)) process.exitCode = 1;
    },
  };
}
