import { type OptionCheck, oneOf } from '../contract/validation.js';

/** Check of a token: the characters of Bearer (RFC 6750, section 2.1). */
export const TOKEN: OptionCheck = {
  expected: 'letters, digits and -._~+/, optionally followed by =',
  accepts: (value) => typeof value === 'string' && /^[\w.~+/-]+=*$/.test(value),
};

export const LEVEL = oneOf('read', 'write');

export const ANONYMOUS = oneOf('none', 'read', 'write');

/** Check of a protocol name. */
export const PROTOCOL: OptionCheck = {
  expected: 'names of protocols (lower-case letters, digits and -)',
  accepts: (value) => typeof value === 'string' && /^[a-z0-9][a-z0-9-]*$/.test(value),
};
