import type { OptionCheck } from '../contract/validation.js';
import { assertHiddenOptions, hiddenOption } from './hidden-options.js';
import { logAccess } from './log.js';
import type { AccessLevel, AccessPolicy } from './policy.js';
import { type AccessToken, MIN_TOKEN_LENGTH, TokenSet } from './token-set.js';
import { ANONYMOUS, LEVEL, PROTOCOL, TOKEN } from './token-syntax.js';

/** What {@link staticTokens} takes. */
export interface StaticTokensOptions {
  /** What everybody may do, without a token or with one that is not known. Default: `'none'`. */
  readonly anonymous?: AccessLevel | undefined;
}

/**
 * A policy of tokens that do not change. It keeps their SHA-256 digests alone, and compares with all of them, each in
 * constant time. No message shows a token.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function staticTokens(tokens: readonly AccessToken[], options: StaticTokensOptions = {}): AccessPolicy {
  assertHiddenOptions('', options, { anonymous: ANONYMOUS });
  if (!Array.isArray(tokens)) throw hiddenOption('tokens', 'an array', tokens);
  for (const [index, entry] of tokens.entries()) assertToken(`tokens[${index}]`, entry);
  const set = new TokenSet(tokens, options.anonymous);
  return (request) => set.levelOf(request);
}

function assertToken(where: string, entry: AccessToken): void {
  assertHiddenOptions(where, entry, CHECKS);
  for (const name of ['token', 'level'] as const) {
    if (entry[name] === undefined) throw hiddenOption(`${where}.${name}`, CHECKS[name].expected, undefined);
  }
  if (entry.token.length < MIN_TOKEN_LENGTH)
    logAccess('%s: a token of fewer than %d characters', where, MIN_TOKEN_LENGTH);
}

const CHECKS: Readonly<Record<keyof AccessToken, OptionCheck>> = {
  token: TOKEN,
  level: LEVEL,
  protocols: listOf(PROTOCOL),
  namespaces: listOf({
    expected: 'strings that are not empty',
    accepts: (value) => typeof value === 'string' && value !== '',
  }),
};

/** Not an empty list: one cannot tell whether it means all or none. */
function listOf({ expected, accepts }: OptionCheck): OptionCheck {
  return {
    expected: `an array, not empty, of ${expected}`,
    accepts: (value) => Array.isArray(value) && value.length > 0 && value.every(accepts),
  };
}
