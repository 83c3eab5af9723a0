import { parseArguments, UsageError } from '../command.js';
import { addEnvironment, nameVariable } from '../environment.js';
import type { ServeOptions } from './serve.js';
import { areTokenLines, parseServeOptions, SERVE_OPTIONS, type ServeValues } from './serve-options.js';

/** Arguments of `hotblob serve` and their environment variables. */
export interface ServeArguments {
  readonly options: ServeOptions;
  /** Texts of the options that are set. The others have their default. */
  readonly values: ServeValues;
  /** Names of the environment variables that set an option, by the name of the option. */
  readonly variables: ReadonlyMap<string, string>;
  /** Lines about environment variables that are ignored. */
  readonly warnings: readonly string[];
}

/**
 * Parses the options of `hotblob serve` on the command line and in the environment.
 *
 * @param version version of this package
 * @throws UsageError that names the option or the variable
 */
export function readServeArguments(
  version: string,
  given: ServeValues,
  environment: NodeJS.ProcessEnv = process.env,
): ServeArguments {
  const { values, variables, warnings } = addEnvironment(given, SERVE_OPTIONS, environment);
  try {
    const options = parseServeOptions(version, values);
    const access = options.access && { ...options.access, isTokensVariable: variables.has('tokens') };
    return { options: { ...options, access }, values, variables, warnings };
  } catch (error) {
    throw nameVariable(error, variables);
  }
}

/** Parses the arguments of the command `serve`. */
export function parseServeCommand(args: string[]): { readonly values: ServeValues; readonly printConfig: boolean } {
  const { values, positionals } = parseArguments(args, { ...SERVE_OPTIONS, 'print-config': { type: 'boolean' } });
  const { 'print-config': printConfig = false, ...rest } = values;
  if (positionals.length > 0) {
    throw new UsageError(`unexpected argument '${positionals.join(' ')}'${argumentHint(positionals[0], rest.dir)}`);
  }
  if (areTokenLines(rest.tokens)) {
    const remedy = 'put the lines into a file, or into the environment variable HOTBLOB_TOKENS';
    throw new UsageError(`--tokens: expected a file; other users can see tokens on the command line: ${remedy}`);
  }
  return { values: rest, printConfig };
}

function argumentHint(argument = '', dir: string | undefined): string {
  if (/^[KMGT]?i?B$|^[KMGT]$/i.test(argument)) return '; write a size without a blank, such as 50GiB';
  return dir === undefined ? `; the directory is an option: --dir ${argument}` : '';
}
