import { type OptionCheck, oneOf } from '../contract/validation.js';
import { didYouMean } from '../util/closest-name.js';

/** Check of a token: the characters of Bearer (RFC 6750, section 2.1). */
export const TOKEN: OptionCheck = {
  expected: 'letters, digits and -._~+/, optionally followed by =',
  accepts: (value) => typeof value === 'string' && /^[\w.~+/-]+=*$/.test(value),
};

export const LEVEL = oneOf('read', 'write');

export const ANONYMOUS = oneOf('none', 'read', 'write');

/** Name of the operator pages in access policies. A token with `protocols=hotblob` gives access to them alone. */
export const OPERATOR_PROTOCOL = 'hotblob';

/** Names that a token can be restricted to: the protocols of this package, and the operator pages. */
const KNOWN_PROTOCOLS: readonly string[] = [
  'bazel',
  'ccache',
  'gradle',
  'metro',
  'nx',
  'plain',
  'rush',
  'sccache',
  'tuist',
  'turborepo',
  OPERATOR_PROTOCOL,
];

/** Checks the option `protocols` of a policy: names of further protocols. */
export const OWN_PROTOCOLS: OptionCheck = {
  expected: 'an array of names',
  accepts: (value) => Array.isArray(value) && value.every((name) => typeof name === 'string' && name !== ''),
};

/**
 * Returns a message about the first name that is not a protocol, or `undefined`. The message omits the name, because it
 * can be a misplaced token.
 *
 * @param own names of further protocols
 */
export function describeUnknownProtocol(names: readonly string[], own: readonly string[] = []): string | undefined {
  const known = [...KNOWN_PROTOCOLS, ...own];
  const index = names.findIndex((name) => !known.includes(name));
  const name = names[index];
  if (name === undefined) return undefined;
  return `name ${index + 1} is not a protocol${didYouMean(name, known)}; expected ${known.join(', ')}, or a name in the option protocols`;
}
