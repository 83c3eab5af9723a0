import { existsSync } from 'node:fs';
import { printableJson } from '../../util/printable.js';
import { type Command, parseArguments } from '../command.js';
import { readServeArguments } from '../serve/serve-arguments.js';
import { SERVE_OPTIONS } from '../serve/serve-options.js';
import { diagnose } from './doctor.js';
import { formatDiagnosis } from './text.js';

const HELP = `Usage: hotblob doctor [options] [options of hotblob serve] [DIR...]

Shows which features work on this machine (mapping, page-cache copies, memory pressure, limits), how each
DIR would be served, and the command that would improve it most. Changes nothing.

With options of hotblob serve, or without a DIR, it also checks whether hotblob serve would start with these
options: files of tokens and rules, certificate, address, directories and upstream.

Options:
  --json  Print JSON

Exit code: 0 on success, 1 if hotblob serve would not start or a DIR cannot be served, 2 if the arguments
are invalid.
`;

/** @param version version of this package */
export function doctorCommand(version: string): Command {
  return {
    name: 'doctor',
    summary: 'Check this machine and the arguments of serve, and suggest an improvement',
    help: HELP,
    async run(args) {
      const { values, positionals } = parseArguments(args, { json: { type: 'boolean' }, ...SERVE_OPTIONS });
      const { json, ...serveValues } = values;
      const isServe = positionals.length === 0 || Object.keys(serveValues).length > 0;
      const serveArguments = isServe ? readServeArguments(version, serveValues) : undefined;
      const options = serveArguments?.options;
      const serve = serveArguments && {
        options: serveArguments.options,
        given: new Set(Object.keys(serveArguments.values)),
      };
      // A directory that does not exist yet is created by the server.
      const served = options !== undefined && existsSync(options.dir) ? [options.dir] : [];
      const diagnosis = await diagnose(version, [...served, ...positionals], serve);
      process.stdout.write(json ? `${printableJson(diagnosis, 2)}\n` : formatDiagnosis(diagnosis));
      const problems = diagnosis.serve?.problems ?? [];
      if (problems.length > 0 || diagnosis.directories.some(({ problem }) => problem !== null)) process.exitCode = 1;
    },
  };
}
