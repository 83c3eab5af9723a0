import { HotblobError } from '../errors.js';

/**
 * Refuses what is not an option of a store. An option that is undefined counts as absent.
 *
 * @param checks what each option must be
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown name or a wrong value
 */
export function assertOptions<T extends object>(options: T, checks: Readonly<Record<keyof T, OptionCheck>>): void {
  if (typeof options !== 'object' || options === null) throw invalidOption('options', 'an object', show(options));
  const known = new Map<string, OptionCheck>(Object.entries(checks));
  for (const [name, value] of Object.entries(options)) {
    const check = known.get(name);
    if (check === undefined)
      throw invalidOption(name, `one of the options ${[...known.keys()].join(', ')}`, show(name));
    if (value !== undefined && !check.accepts(value)) throw invalidOption(name, check.expected, show(value));
  }
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

/** An `ERR_HOTBLOB_INVALID_OPTION` that says what was expected and, in the words of {@link show}, what was found. */
export function invalidOption(name: string, expected: string, found: string, options?: ErrorOptions): HotblobError {
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `${name}: expected ${expected}, found ${found}`, options);
}

/** A value as a message names it. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
