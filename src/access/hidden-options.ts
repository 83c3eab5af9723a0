import { HotblobError } from '../contract/errors.js';
import { OBJECT, type OptionCheck } from '../contract/validation.js';

/**
 * As `assertOptions`, but no message shows what was found, not even a name: it may be a token in the wrong place.
 *
 * @param where whose options they are, such as `tokens[0]`; empty for those of a call
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function assertHiddenOptions<T extends object>(
  where: string,
  options: T,
  checks: Readonly<Record<keyof T, OptionCheck>>,
): void {
  if (!OBJECT.accepts(options)) throw hiddenOption(where || 'options', 'an object', options);
  const known = new Map<string, OptionCheck>(Object.entries(checks));
  for (const [name, value] of Object.entries(options)) {
    const check = known.get(name);
    const expected = `one of the options ${[...known.keys()].join(', ')}`;
    if (check === undefined) throw hiddenOption(where || 'options', expected, name);
    if (value !== undefined && !check.accepts(value)) throw hiddenOption(join(where, name), check.expected, value);
  }
}

/** As `invalidOption`, but of what was found it tells the kind alone. */
export function hiddenOption(name: string, expected: string, found: unknown): HotblobError {
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `${name}: expected ${expected}, received ${kindOf(found)}`);
}

function join(where: string, name: string): string {
  return where === '' ? name : `${where}.${name}`;
}

function kindOf(found: unknown): string {
  if (found === null || found === undefined) return String(found);
  if (typeof found === 'string') return found === '' ? 'an empty string' : 'another string';
  return Array.isArray(found) ? 'an array' : typeof found;
}
