import { type ParseArgsConfig, parseArgs } from 'node:util';
import { errnoCode } from '../contract/errors.js';
import { didYouMean } from '../util/closest-name.js';
import { messageOf } from '../util/report-event.js';

/** Subcommand of `hotblob`. */
export interface Command {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** Usage and options. Ends with a newline. */
  readonly help: string;
  /**
   * Runs the command. If it finds a problem, it prints the problem and sets `process.exitCode` to 1.
   *
   * @param args arguments after the name of the command
   * @throws UsageError for invalid arguments
   * @throws CommandError, HotblobError or a system error if the command cannot run
   */
  run(args: string[]): Promise<void>;
}

/** Error for invalid arguments. The process exits with code 2. */
export class UsageError extends Error {}

/** Expected failure of a command. It is printed without a stack trace, and the process exits with code 1. */
export class CommandError extends Error {}

type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<T extends Options> = ReturnType<typeof parseArgs<{ options: T; allowPositionals: true }>>;

/**
 * Parses the options and positional arguments of a command.
 *
 * @throws UsageError for an unknown option, a missing value or an unexpected value
 */
export function parseArguments<T extends Options>(args: string[], options: T): Parsed<T> {
  const parsed = parse(args, options);
  for (const [name, value] of Object.entries(parsed.values)) {
    for (const text of [value].flat()) assertExpanded(`--${name}`, text);
  }
  for (const text of parsed.positionals) assertExpanded('argument', text);
  return parsed;
}

function parse<T extends Options>(args: string[], options: T): Parsed<T> {
  try {
    const parsed = parseArgs({ args, options, allowPositionals: true, tokens: true });
    const given = new Set<string>();
    for (const token of parsed.tokens) {
      if (token.kind !== 'option' || options[token.name]?.multiple) continue;
      if (given.has(token.name)) throw new UsageError(`--${token.name}: expected once, received several times`);
      given.add(token.name);
    }
    return parsed;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const message = messageOf(error);
    const name = /'(--?[^' ]*)/.exec(message)?.[1] ?? '';
    if (errnoCode(error) === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') throw new UsageError(describeUnknown(name, options));
    if (/argument missing$/.test(message)) throw new UsageError(`${name}: expected a value`);
    if (/is ambiguous/.test(message)) {
      throw new UsageError(`${name}: expected a value; write ${name}=VALUE if the value starts with a dash`);
    }
    if (/does not take an argument$/.test(message)) throw new UsageError(`${name}: expected no value`);
    throw new UsageError(message);
  }
}

function describeUnknown(option: string, options: Options): string {
  const names = Object.keys(options).map((each) => `--${each}`);
  const expected = names.length === 0 ? 'this command has no options' : `expected one of ${names.join(', ')}`;
  return `unknown option ${option}${didYouMean(option, names)}; ${expected}`;
}

/** @throws UsageError if the shell has replaced a variable by nothing, or has not replaced `~` */
function assertExpanded(name: string, text: unknown): void {
  if (text === '') throw new UsageError(`${name}: expected a value, received an empty one (is a variable not set?)`);
  if (typeof text === 'string' && /^~(?:\/|$)/.test(text)) {
    const hint = `write $HOME instead of ~, or ./~ for a file of this name`;
    throw new UsageError(`${name}: the shell has not replaced the ~ of '${text}'; ${hint}`);
  }
}
