#!/usr/bin/env node
import './cli/process-one.js'; // first: see there

import { createRequire } from 'node:module';
import { type Command, CommandError, UsageError } from './cli/command.js';
import { doctorCommand } from './cli/doctor/doctor-command.js';
import { lsCommand } from './cli/ls/ls-command.js';
import { purgeCommand } from './cli/purge/purge-command.js';
import { residencyCommand } from './cli/residency/residency-command.js';
import { serveCommand } from './cli/serve/serve-command.js';
import { statsCommand } from './cli/stats/stats-command.js';
import { verifyCommand } from './cli/verify-command.js';
import { warmCommand } from './cli/warm/warm-command.js';
import { errnoCode, HotblobError } from './contract/errors.js';
import { didYouMean } from './util/closest-name.js';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

const VERSION = readVersion();
const COMMANDS: readonly Command[] = [
  serveCommand(VERSION),
  residencyCommand,
  warmCommand,
  statsCommand,
  lsCommand,
  purgeCommand,
  verifyCommand,
  doctorCommand(VERSION),
];

const HELP = `Usage: hotblob <command> [options]

Serves build caches from the page cache.

Commands:
${COMMANDS.map(({ name, summary }) => `  ${name.padEnd(9)}  ${summary}\n`).join('')}
Options:
  -h, --help     Show this help, or the help of a command (hotblob serve --help)
  -v, --version  Show the version

Exit code: 0 on success, 1 on failure or if a problem was found, 2 if the arguments are invalid.
`;

async function main([name, ...args]: string[]): Promise<void> {
  if (hasFlag(['--help', '-h'], [name])) return print(HELP);
  if (hasFlag(['--version', '-v'], [name])) return print(`${VERSION}\n`);
  // As in other tools: hotblob help, hotblob help serve.
  if (name === 'help') return args[0] === undefined ? print(HELP) : print(commandOf(args[0]).help);
  const command = commandOf(name);
  if (hasFlag(['--help', '-h'], args)) return print(command.help);
  if (hasFlag(['--version'], args)) return print(`${VERSION}\n`);
  try {
    await command.run(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`${name}: ${error.message}\nRun 'hotblob ${name} --help' for usage.`);
  }
}

/** @throws UsageError if there is no such command */
function commandOf(name: string | undefined): Command {
  const command = COMMANDS.find((each) => each.name === name);
  if (command !== undefined) return command;
  const names = COMMANDS.map((each) => each.name);
  const problem =
    name === undefined
      ? 'missing command'
      : name.startsWith('-')
        ? `expected a command before ${name}, such as hotblob serve ${name}`
        : `unknown command '${name}'${didYouMean(name, names)}`;
  throw new UsageError(`${problem}; expected one of ${names.join(', ')}\nRun 'hotblob --help' for usage.`);
}

/** Returns whether one of `names` is among the arguments before `--`. */
function hasFlag(names: readonly string[], args: readonly (string | undefined)[]): boolean {
  const end = args.indexOf('--');
  return args.slice(0, end === -1 ? undefined : end).some((arg) => arg !== undefined && names.includes(arg));
}

function print(text: string): void {
  process.stdout.write(text);
}

function readVersion(): string {
  // npm puts package.json into every package. It is one directory above this file.
  const manifest = createRequire(import.meta.url)('../package.json') as { version: string };
  return manifest.version;
}

/** Prints an error and exits. Prints a stack trace only for an error without a code, which is a bug. */
function fail(error: unknown): void {
  const isExpected =
    error instanceof UsageError ||
    error instanceof CommandError ||
    error instanceof HotblobError ||
    (error instanceof Error && 'code' in error);
  console.error(isExpected ? `hotblob: ${(error as Error).message}` : error); // an Error: checked above
  process.exit(error instanceof UsageError ? EXIT_USAGE : EXIT_FAILURE);
}

// If stderr has no reader, or its disk is full, there is no way left to report an error.
process.stderr.on('error', () => {});

// A reader such as `head` closes the pipe when it has read enough. That is not an error.
process.stdout.on('error', (error) => {
  if (errnoCode(error) === 'EPIPE') process.exit(process.exitCode);
  fail(error);
});

main(process.argv.slice(2)).catch(fail);
