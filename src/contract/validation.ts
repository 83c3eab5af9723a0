import { inspect } from 'node:util';
import { HotblobError } from './errors.js';

/** Check of one option. */
export interface OptionCheck {
  /** Description of a valid value. It completes the sentence "expected ...". */
  readonly expected: string;
  accepts(value: unknown): boolean;
}

export const FLAG: OptionCheck = {
  expected: 'true or false',
  accepts: (value) => typeof value === 'boolean',
};

/** Check of a number of bytes. 0 is valid. */
export const BYTES: OptionCheck = {
  expected: 'a whole number of bytes, 0 or more',
  accepts: (value) => Number.isSafeInteger(value) && Number(value) >= 0,
};

const MAX_INT32 = 2 ** 31 - 1;

/**
 * Check of a delay in milliseconds. `setTimeout` accepts a signed 32-bit number and replaces a longer delay with 1 ms.
 */
export const MILLISECONDS: OptionCheck = {
  expected: `a whole number of milliseconds from 1 to ${MAX_INT32}`,
  accepts: (value) => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MAX_INT32,
};

const DEFAULT_WINDOW_BYTES = 65_535;

/**
 * Check of the size of an HTTP/2 flow-control window, in bytes. RFC 9113, section 6.9.1, limits the size to 2^31 - 1.
 * The lower bound is the initial window of section 6.9.2, because a peer may send that much before it has received the
 * setting.
 */
export const WINDOW_BYTES: OptionCheck = {
  expected: `a whole number of bytes from ${DEFAULT_WINDOW_BYTES} to ${MAX_INT32}`,
  accepts: (value) => Number.isInteger(value) && Number(value) >= DEFAULT_WINDOW_BYTES && Number(value) <= MAX_INT32,
};

/** Returns a check that accepts integers of at least `least`. */
export function countFrom(least: number): OptionCheck {
  return {
    expected: `a whole number, ${least} or more`,
    accepts: (value) => Number.isSafeInteger(value) && Number(value) >= least,
  };
}

/** Returns a check that accepts what `check` accepts, or a function. The values that a function returns are not checked. */
export function orFunction({ expected, accepts }: OptionCheck): OptionCheck {
  return {
    expected: `${expected}, or a function that returns it`,
    accepts: (value) => typeof value === 'function' || accepts(value),
  };
}

/** Returns a check that accepts one of `values`. */
export function oneOf(...values: readonly string[]): OptionCheck {
  return {
    expected: values.map((value) => `'${value}'`).join(', '),
    accepts: (value) => values.some((each) => each === value),
  };
}

/** Check of an object. The properties are checked elsewhere. */
export const OBJECT: OptionCheck = {
  expected: 'an object',
  accepts: (value) => typeof value === 'object' && value !== null,
};

export const STATS_SOURCE: OptionCheck = {
  expected: 'an object with a stats() method',
  accepts: (value) => OBJECT.accepts(value) && typeof (value as { stats?: unknown }).stats === 'function',
};

/** Check of a path below which a handler responds. */
export const MOUNT_PATH: OptionCheck = {
  expected: 'a path that starts with "/" and has no "*"',
  accepts: (value) => typeof value === 'string' && value.startsWith('/') && !value.includes('*'),
};

/** Check of a number. NaN is accepted, because the caller checks the bounds afterwards and rejects NaN. */
export const NUMBER: OptionCheck = {
  expected: 'a number',
  accepts: (value) => typeof value === 'number',
};

/**
 * Validates options. An option whose value is undefined counts as absent.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown name or an invalid value
 */
export function assertOptions<T extends object>(options: T, checks: Readonly<Record<keyof T, OptionCheck>>): void {
  if (!OBJECT.accepts(options)) throw invalidOption('options', 'an object', options);
  for (const key of Object.keys(options)) {
    const name = key as string & keyof T;
    const value = options[name];
    // fileArtifact() runs this once per request, so it must not allocate.
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (check === undefined) throw unknownOption(name, Object.keys(checks));
    if (value !== undefined && !check.accepts(value)) throw invalidOption(name, check.expected, value);
  }
}

const METHODS = ['get', 'handle', 'stats'] as const;

/**
 * Asserts that a store or a handler was not passed in place of the options that contain it. Its methods are no properties of its
 * own, so it would look like options without any member.
 *
 * @param example options as they should be, such as `{ store }`
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function assertNoInstance(options: object, example: string): void {
  if (!OBJECT.accepts(options)) throw invalidOption('options', `an object such as ${example}`, options);
  if (Object.keys(options).length > 0) return;
  const method = METHODS.find((name) => typeof (options as Record<string, unknown>)[name] === 'function');
  if (method === undefined) return;
  throw invalidOption('options', `an object such as ${example}`, `an object with the method ${method}()`);
}

/** Returns the error for an option that is not one of `known`. */
export function unknownOption(name: string, known: readonly string[]): HotblobError {
  const message = `unknown option '${name}'; expected one of ${known.join(', ')}`;
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
}

const MAX_VALUE_CHARACTERS = 300;

/** Returns the error for an option with an invalid value. The message says what was expected and what was received. */
export function invalidOption(name: string, expected: string, received: unknown): HotblobError {
  const text = inspect(received, { depth: 1, compact: true, breakLength: Number.POSITIVE_INFINITY });
  // An application or a store may have hundreds of properties.
  const value = text.length > MAX_VALUE_CHARACTERS ? `${text.slice(0, MAX_VALUE_CHARACTERS)}...` : text;
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `${name}: expected ${expected}, received ${value}`);
}
