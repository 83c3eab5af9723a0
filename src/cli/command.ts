import { type ParseArgsConfig, parseArgs } from 'node:util';
import { errnoCode } from '../contract/errors.js';
import { parseBytes } from '../util/units.js';

/** One of the things that the command line does. */
export interface Command {
  readonly name: string;
  /** What it does, in a line. */
  readonly summary: string;
  /** How it is called, with all of its options. Ends in a newline. */
  readonly help: string;
  /**
   * Does it. What it found wrong it says, and sets `process.exitCode` to 1.
   *
   * @param args what stands behind the name
   * @throws UsageError for arguments that it does not take; CommandError, HotblobError or an error of the system for what
   * keeps it from its work
   */
  run(args: string[]): Promise<void>;
}

/** Arguments that make no sense. */
export class UsageError extends Error {}

/** What keeps a command from its work, as a sentence for people. */
export class CommandError extends Error {}

type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<T extends Options> = ReturnType<typeof parseArgs<{ options: T; allowPositionals: true }>>;

/**
 * Options and positional arguments of one command.
 *
 * @throws UsageError for options that are not among `options`, and for values that are absent or too many
 */
export function parse<T extends Options>(args: string[], options: T): Parsed<T> {
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (errnoCode(error) !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION') throw new UsageError(message);
    const name = /'(-[^']*)'/.exec(message)?.[1] ?? '';
    throw new UsageError(`${name} is none of its options: ${namesOf(options)}`);
  }
}

/** `--max-size`, in bytes; undefined where it is not given. @throws UsageError for what is no size */
export function maxSize({ 'max-size': text }: { readonly 'max-size'?: string | undefined }): number | undefined {
  if (text === undefined) return undefined;
  const bytes = parseBytes(text);
  if (bytes === undefined)
    throw new UsageError(`--max-size: expected a number of bytes such as 50GiB, received '${text}'`);
  return bytes;
}

function namesOf(options: Options): string {
  const names = Object.keys(options).map((name) => `--${name}`);
  return names.length === 0 ? 'there are none' : names.join(', ');
}
