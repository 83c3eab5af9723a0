import { inspect } from 'node:util';
import { HotblobError } from './errors.js';

/** What an option must be. */
export interface OptionCheck {
  readonly expected: string;
  accepts(value: unknown): boolean;
}

/** True or false. */
export const FLAG: OptionCheck = {
  expected: 'true or false',
  accepts: (value) => typeof value === 'boolean',
};

/** A number of bytes, 0 included. */
export const BYTES: OptionCheck = {
  expected: 'a whole number of bytes from 0',
  accepts: (value) => Number.isSafeInteger(value) && Number(value) >= 0,
};

const MAX_INT32 = 2 ** 31 - 1;

/** Delay of a timer in milliseconds. `setTimeout` takes a signed 32-bit number: it replaces a longer delay with 1 ms. */
export const MILLISECONDS: OptionCheck = {
  expected: `a whole number of milliseconds from 1 to ${MAX_INT32}`,
  accepts: (value) => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MAX_INT32,
};

const DEFAULT_WINDOW_BYTES = 65_535;

/**
 * Size of an HTTP/2 flow-control window, in bytes. RFC 9113, section 6.9.1, limits it to 2^31 - 1. The lower bound is the
 * initial window of section 6.9.2: a peer may send that much before it has received the setting.
 */
export const WINDOW_BYTES: OptionCheck = {
  expected: `a whole number of bytes from ${DEFAULT_WINDOW_BYTES} to ${MAX_INT32}`,
  accepts: (value) => Number.isInteger(value) && Number(value) >= DEFAULT_WINDOW_BYTES && Number(value) <= MAX_INT32,
};

/** A whole number that is no less than `least`. */
export function countFrom(least: number): OptionCheck {
  return {
    expected: `a whole number from ${least}`,
    accepts: (value) => Number.isSafeInteger(value) && Number(value) >= least,
  };
}

/** One of these strings. */
export function oneOf(...values: readonly string[]): OptionCheck {
  return {
    expected: values.map((value) => `'${value}'`).join(', '),
    accepts: (value) => values.some((each) => each === value),
  };
}

/** An object; what it holds is checked by who takes it. */
export const OBJECT: OptionCheck = {
  expected: 'an object',
  accepts: (value) => typeof value === 'object' && value !== null,
};

/** A number, whole or not. NaN passes: whoever compares it with a bound refuses it. */
export const NUMBER: OptionCheck = {
  expected: 'a number',
  accepts: (value) => typeof value === 'number',
};

/**
 * Refuses what is not an option. An option that is undefined counts as absent.
 *
 * @param checks what each option must be
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown name or a wrong value
 */
export function assertOptions<T extends object>(options: T, checks: Readonly<Record<keyof T, OptionCheck>>): void {
  if (!OBJECT.accepts(options)) throw invalidOption('options', 'an object', options);
  for (const key of Object.keys(options)) {
    const name = key as string & keyof T;
    const value = options[name];
    // Some options come with every request: nothing is made for them.
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (check === undefined) throw invalidOption(name, `one of the options ${Object.keys(checks).join(', ')}`, name);
    if (value !== undefined && !check.accepts(value)) throw invalidOption(name, check.expected, value);
  }
}

/** An `ERR_HOTBLOB_INVALID_OPTION` that says what was expected and what was found. */
export function invalidOption(name: string, expected: string, found: unknown): HotblobError {
  const seen = inspect(found, { depth: 1, breakLength: Number.POSITIVE_INFINITY });
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `${name}: expected ${expected}, received ${seen}`);
}
