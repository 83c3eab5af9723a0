import { HotblobError } from '../errors.js';

/**
 * The options of a store, checked. An option that is absent or undefined is left out of the result; the caller's object
 * stays as it is.
 *
 * @param checks for each option what it must be, in words, and whether a value is that
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown name or a wrong value
 */
export function checkedOptions<T extends object>(options: T, checks: Readonly<Record<keyof T, OptionCheck>>): T {
  if (typeof options !== 'object' || options === null) throw invalidOption('options', 'an object', options);
  const known = new Map<string, OptionCheck>(Object.entries(checks));
  const result = { ...options };
  for (const [name, value] of Object.entries(options)) {
    const check = known.get(name);
    if (check === undefined) {
      throw invalidOption(name, `one of the options ${[...known.keys()].join(', ')}`, name);
    }
    if (value === undefined) Reflect.deleteProperty(result, name);
    else if (!check.accepts(value)) throw invalidOption(name, check.expected, value);
  }
  return result;
}

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

/** An `ERR_HOTBLOB_INVALID_OPTION` that says what was expected and what was found. */
export function invalidOption(name: string, expected: string, found: unknown, cause?: unknown): HotblobError {
  const shown = typeof found === 'string' ? `'${found}'` : typeof found === 'object' && found ? 'an object' : found;
  const message = `${name}: expected ${expected}, found ${String(shown)}`;
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message, cause === undefined ? undefined : { cause });
}
