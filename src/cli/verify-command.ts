import { verifySegments } from '../stores/segments/verify.js';
import { type Command, parse, UsageError } from './command.js';
import { printable } from './terminal.js';

const HELP = `hotblob verify DIR

Compares every artifact of the segment store in DIR with its checksum and prints what is hurt, a line for each. Nothing is
changed; a server may run meanwhile.

Exit code: 0 when all are whole, 1 when some are not or DIR holds no segment store, 2 for arguments that it does not take.
`;

/** `hotblob verify`. */
export const verifyCommand: Command = {
  name: 'verify',
  summary: 'compares what is in segments with its checksums',
  help: HELP,
  async run(args) {
    const [dir, ...rest] = parse(args, {}).positionals;
    if (dir === undefined || rest.length > 0) throw new UsageError('expected one directory');
    const findings = verifySegments(dir);
    let next = await findings.next();
    for (; !next.done; next = await findings.next()) {
      process.stdout.write(`${printable(next.value.message)}\n`);
      process.exitCode = 1;
    }
    const { artifacts, bytes } = next.value;
    process.stdout.write(
      `${artifacts} artifacts with ${bytes} bytes, ${process.exitCode === 1 ? 'not all' : 'all'} whole\n`,
    );
  },
};
