#!/usr/bin/env node
import { createRequire } from 'node:module';
import { type Command, CommandError, UsageError } from './cli/command.js';
import { doctorCommand } from './cli/doctor/doctor-command.js';
import { residencyCommand } from './cli/residency/residency-command.js';
import { serveCommand } from './cli/serve/serve-command.js';
import { statsCommand } from './cli/stats/stats-command.js';
import { verifyCommand } from './cli/verify-command.js';
import { warmCommand } from './cli/warm/warm-command.js';
import { errnoCode, HotblobError } from './contract/errors.js';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

const VERSION = version();
const COMMANDS: readonly Command[] = [
  serveCommand(VERSION),
  residencyCommand,
  warmCommand,
  statsCommand,
  verifyCommand,
  doctorCommand(VERSION),
];

const HELP = `hotblob: serves a build cache straight from the page cache

${COMMANDS.map(({ name, summary }) => `  hotblob ${name.padEnd(9)}  ${summary}\n`).join('')}
  hotblob COMMAND --help  tells all about one of them
  hotblob --version

Exit code: 0 when all is well, 1 when something is wrong or has failed, 2 for arguments that make no sense.
`;

async function main([name, ...args]: string[]): Promise<void> {
  if (isAsked(['--help', '-h'], [name])) return print(HELP);
  if (isAsked(['--version'], [name])) return print(`${VERSION}\n`);
  const command = COMMANDS.find((each) => each.name === name);
  if (command === undefined) {
    const names = COMMANDS.map((each) => each.name).join(', ');
    throw new UsageError(`expected one of the commands ${names}, received '${name ?? ''}'\nhotblob --help tells more`);
  }
  if (isAsked(['--help', '-h'], args)) return print(command.help);
  if (isAsked(['--version'], args)) return print(`${VERSION}\n`);
  try {
    await command.run(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`${name}: ${error.message}\nhotblob ${name} --help tells more`);
  }
}

/** Whether one of `names` is among the options. */
function isAsked(names: readonly string[], args: readonly (string | undefined)[]): boolean {
  const end = args.indexOf('--');
  return args.slice(0, end === -1 ? undefined : end).some((arg) => arg !== undefined && names.includes(arg));
}

function print(text: string): void {
  process.stdout.write(text);
}

function version(): string {
  // npm publishes it with every package, one level above the built file.
  const manifest = createRequire(import.meta.url)('../package.json') as { version: string };
  return manifest.version;
}

function fail(error: unknown): void {
  const isExpected =
    error instanceof UsageError ||
    error instanceof CommandError ||
    error instanceof HotblobError ||
    (error instanceof Error && 'code' in error);
  console.error(isExpected ? `hotblob: ${(error as Error).message}` : error); // an Error, as just seen
  process.exit(error instanceof UsageError ? EXIT_USAGE : EXIT_FAILED);
}

// Whoever reads may have seen enough, as `head` has.
process.stdout.on('error', (error) => {
  if (errnoCode(error) === 'EPIPE') process.exit(process.exitCode);
  fail(error);
});

main(process.argv.slice(2)).catch(fail);
