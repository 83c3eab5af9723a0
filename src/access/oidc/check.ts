import type { OptionCheck } from '../../contract/validation.js';
import { OptionError, type OptionPath, unexpected, unknownName } from './option-error.js';

/** Checks a value. Throws an {@link OptionError} if it is not valid. */
export type Check = (value: unknown, path: OptionPath) => void;

/** Returns a check of a value by itself. */
export function valueCheck({ expected, accepts }: OptionCheck): Check {
  return (value, path) => {
    if (!accepts(value)) throw unexpected(path, expected, value);
  };
}

/** Returns a check of an object that has only these properties. A property whose value is undefined counts as absent. */
export function objectCheck(checks: Readonly<Record<string, Check>>, required: readonly string[] = []): Check {
  return (value, path) => {
    if (!isObject(value)) throw unexpected(path, 'an object', value);
    for (const [name, property] of Object.entries(value)) {
      const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
      if (check === undefined) throw unknownName(path, name, Object.keys(checks));
      if (property !== undefined) check(property, [...path, name]);
    }
    const missing = required.find((name) => !Object.hasOwn(value, name) || value[name] === undefined);
    if (missing !== undefined) throw new OptionError(path, `expected the property ${missing}, which is missing`);
  };
}

/** Returns a check of an array with at least one element. */
export function listCheck(check: Check): Check {
  return (value, path) => {
    if (!Array.isArray(value) || value.length === 0) throw unexpected(path, 'an array that is not empty', value);
    for (const [index, element] of value.entries()) check(element, [...path, index]);
  };
}

/** Returns a check of a value, or of an array of them that is not empty. */
export function oneOrMore(check: Check): Check {
  const list = listCheck(check);
  return (value, path) => (Array.isArray(value) ? list(value, path) : check(value, path));
}

export const TEXT = valueCheck({
  expected: 'a string that is not empty',
  accepts: (value) => typeof value === 'string' && value !== '',
});

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
