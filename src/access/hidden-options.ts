import { HotblobError } from '../contract/errors.js';
import { OBJECT, type OptionCheck } from '../contract/validation.js';

/**
 * Validates options, like `assertOptions`. Error messages contain neither the values nor the names that were received,
 * because a token may have been written in the wrong place.
 *
 * @param optionName name of the object with the options, such as `tokens[0]`; empty for the options of a function
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown name or an invalid value
 */
export function assertHiddenOptions<T extends object>(
  optionName: string,
  options: T,
  checks: Readonly<Record<keyof T, OptionCheck>>,
): void {
  if (!OBJECT.accepts(options)) throw hiddenOption(optionName || 'options', 'an object', options);
  const known = new Map<string, OptionCheck>(Object.entries(checks));
  for (const [name, value] of Object.entries(options)) {
    const check = known.get(name);
    if (check === undefined) {
      const message = `unknown option (not shown); expected one of ${[...known.keys()].join(', ')}`;
      throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `${optionName || 'options'}: ${message}`);
    }
    if (value !== undefined && !check.accepts(value)) {
      throw hiddenOption(optionName === '' ? name : `${optionName}.${name}`, check.expected, value);
    }
  }
}

/** Returns an error like `invalidOption` that contains only the type of the received value. */
export function hiddenOption(name: string, expected: string, received: unknown): HotblobError {
  return new HotblobError(
    'ERR_HOTBLOB_INVALID_OPTION',
    `${name}: expected ${expected}, received ${typeNameOf(received)}`,
  );
}

/**
 * Returns a description of the type of a value, for error messages. It shows no values except null, undefined and the
 * empty string.
 */
export function typeNameOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string') return value === '' ? 'an empty string' : 'a string (not shown)';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
