import type { ParseArgsConfig } from 'node:util';
import { didYouMean } from '../util/closest-name.js';
import { UsageError } from './command.js';

type Options = NonNullable<ParseArgsConfig['options']>;
type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;

const PREFIX = 'HOTBLOB_';
/**
 * Variables that are not options. Kubernetes sets HOTBLOB_SERVICE_* and HOTBLOB_PORT_* in every container if a service is called
 * `hotblob`, and HOTBLOB_PORT to a URL.
 */
const OTHER_VARIABLES = /^HOTBLOB_(?:TOKEN|UPSTREAM_TOKEN|PROCESS|SERVICE_.*|PORT_.*)$/;

/** Options of a command after its environment variables have been added. */
export interface OptionsFromEnvironment<T> {
  readonly values: T;
  /** Names of the variables that set an option, by the name of the option. */
  readonly variables: ReadonlyMap<string, string>;
  /** Lines about variables that are ignored. */
  readonly warnings: readonly string[];
}

/** Returns the name of the environment variable of an option: `HOTBLOB_MAX_SIZE` for `max-size`. */
export function variableOf(option: string): string {
  return PREFIX + option.toUpperCase().replaceAll('-', '_');
}

/**
 * Adds options from environment variables to those of the command line, which win. An empty variable counts as not set. An option
 * without a value is set by `true`, `1` or `yes`. The values of a repeatable option are separated by commas or line breaks.
 *
 * @throws UsageError if the variable of an option without a value has another text
 */
export function addEnvironment<T extends Values>(
  values: T,
  options: Options,
  environment: NodeJS.ProcessEnv,
): OptionsFromEnvironment<T> {
  const merged: Record<string, Values[string]> = { ...values };
  const variables = new Map<string, string>();
  const warnings: string[] = [];
  for (const [option, { type, multiple }] of Object.entries(options)) {
    const variable = variableOf(option);
    const text = environment[variable]?.trim();
    if (text === undefined || text === '' || merged[option] !== undefined) continue;
    if (/^(?:tcp|udp|sctp):\/\//.test(text)) {
      warnings.push(`${variable} is ignored: it is the address of a service of Kubernetes; use --${option}`);
      continue;
    }
    const value =
      type === 'boolean' ? parseFlag(variable, text) : multiple ? text.split(/\s*[,\n]\s*/).filter(Boolean) : text;
    if (value === false) continue;
    merged[option] = value;
    variables.set(option, variable);
  }
  const known = Object.keys(options).map(variableOf);
  for (const name of Object.keys(environment)) {
    if (!name.startsWith(PREFIX) || OTHER_VARIABLES.test(name)) continue;
    if (known.includes(name)) continue;
    const hint = didYouMean(
      name,
      known.map((each) => each.toLowerCase()),
    ).replace(/hotblob_\w+/, (each) => each.toUpperCase());
    warnings.push(`${name} is ignored: it is not the variable of an option${hint}`);
  }
  // The names and types of the values are those of the options.
  return { values: merged as T, variables, warnings };
}

/** Adds to an error about an option from which variable its value is. */
export function nameVariable(error: unknown, variables: ReadonlyMap<string, string>): unknown {
  if (!(error instanceof UsageError)) return error;
  const [, option = ''] = /^--([a-z-]+)/.exec(error.message) ?? [];
  const variable = variables.get(option);
  return variable === undefined ? error : new UsageError(`${variable}: ${error.message}`);
}

function parseFlag(variable: string, text: string): boolean {
  if (/^(?:1|true|yes)$/i.test(text)) return true;
  if (/^(?:0|false|no)$/i.test(text)) return false;
  throw new UsageError(`${variable}: expected true or false, received '${text}'`);
}
