import { type ParseArgsConfig, parseArgs } from 'node:util';
import { errnoCode } from '../contract/errors.js';
import { parseBytes } from '../util/units.js';

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
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (errnoCode(error) !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION') throw new UsageError(message);
    const name = /'(-[^']*)'/.exec(message)?.[1] ?? '';
    const names = Object.keys(options).map((each) => `--${each}`);
    const expected = names.length === 0 ? 'this command has no options' : `expected one of ${names.join(', ')}`;
    throw new UsageError(`unknown option ${name}; ${expected}`);
  }
}

/**
 * Returns a size in bytes, or `undefined` if the option is not given.
 *
 * @param name option, such as `--max-size`
 * @throws UsageError for an invalid size
 */
export function parseSize(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = parseBytes(text);
  if (bytes === undefined) throw new UsageError(`${name}: expected a size such as 50GiB, received '${text}'`);
  return bytes;
}
