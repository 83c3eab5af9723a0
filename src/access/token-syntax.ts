import { type OptionCheck, oneOf } from '../contract/validation.js';

/** RFC 6750, 2.1. */
export const TOKEN: OptionCheck = {
  expected: 'letters, digits and -._~+/, with = at the end only',
  accepts: (value) => typeof value === 'string' && /^[\w.~+/-]+=*$/.test(value),
};

export const LEVEL = oneOf('read', 'write');

export const ANONYMOUS = oneOf('none', 'read', 'write');

/** As protocols are named. */
export const PROTOCOL: OptionCheck = {
  expected: 'names of protocols (lower-case letters, digits and -)',
  accepts: (value) => typeof value === 'string' && /^[a-z0-9][a-z0-9-]*$/.test(value),
};
