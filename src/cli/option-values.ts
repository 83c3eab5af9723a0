import { didYouMean } from '../util/closest-name.js';
import { parseBytes } from '../util/units.js';
import { UsageError } from './command.js';

/** Bounds of a whole number, inclusive. */
export interface Bounds {
  readonly min: number;
  readonly max: number;
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

/**
 * Returns a whole number, or `undefined` if the option is not given.
 *
 * @param name option, such as `--port`
 * @param what what is counted, such as `an integer` or `a number of whole seconds`
 * @throws UsageError for a number out of bounds, and for other text
 */
export function parseInteger(
  name: string,
  text: string | undefined,
  { min, max }: Bounds,
  what = 'an integer',
): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,15}$/.test(text) && Number(text) >= min && Number(text) <= max) return Number(text);
  throw new UsageError(`${name}: expected ${what} from ${min} to ${max}, received '${text}'`);
}

/**
 * Returns `text` as one of `names`.
 *
 * @param what what the names are, such as `protocol`
 * @throws UsageError for any other text
 */
export function parseName<T extends string>(option: string, text: string, what: string, names: readonly T[]): T {
  const name = names.find((each) => each === text);
  if (name !== undefined) return name;
  throw new UsageError(
    `${option}: unknown ${what} '${text}'${didYouMean(text, names)}; expected one of ${names.join(', ')}`,
  );
}
