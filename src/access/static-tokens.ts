import { HotblobError } from '../contract/errors.js';
import { FLAG, type OptionCheck } from '../contract/validation.js';
import { SCOPE_NAME } from '../keys/scope.js';
import { type AccessLevel, MAX_SCOPES, SUBJECT } from './grant.js';
import { assertHiddenOptions, hiddenOption } from './hidden-options.js';
import { logAccess } from './log.js';
import type { AccessPolicy } from './policy.js';
import { type AccessToken, MIN_TOKEN_LENGTH, TokenSet } from './token-set.js';
import { ANONYMOUS, describeUnknownProtocol, LEVEL, OWN_PROTOCOLS, TOKEN } from './token-syntax.js';

/** Options of {@link staticTokens}. */
export interface StaticTokensOptions {
  /** Minimum access level of every client, with or without a known token. Default: `'none'`. */
  readonly anonymous?: AccessLevel | undefined;
  /**
   * Names of your own protocols. If `protocols` of a token contains a name that is neither in this list nor a protocol of
   * this package, `staticTokens` throws, because a misspelt name would grant less access than intended. Default: none.
   */
  readonly protocols?: readonly string[] | undefined;
}

/**
 * Creates a policy with a fixed list of tokens. The policy stores only their SHA-256 digests. It compares the token of
 * a request with all digests, each in constant time. No error message or log line contains a token.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid token or an unknown option
 */
export function staticTokens(tokens: readonly AccessToken[], options: StaticTokensOptions = {}): AccessPolicy {
  assertHiddenOptions('', options, { anonymous: ANONYMOUS, protocols: OWN_PROTOCOLS });
  if (!Array.isArray(tokens)) throw hiddenOption('tokens', 'an array', tokens);
  for (const [index, entry] of tokens.entries()) assertToken(`tokens[${index}]`, entry, options.protocols);
  const set = new TokenSet(tokens, options.anonymous);
  return (request) => set.decide(request);
}

function assertToken(optionName: string, entry: AccessToken, protocols: readonly string[] | undefined): void {
  if (typeof entry !== 'object' || entry === null) {
    throw hiddenOption(optionName, "an object such as { token, level: 'read' }", entry);
  }
  assertHiddenOptions(optionName, entry, CHECKS);
  for (const name of ['token', 'level'] as const) {
    if (entry[name] === undefined) throw hiddenOption(`${optionName}.${name}`, CHECKS[name].expected, undefined);
  }
  const unknown = describeUnknownProtocol(entry.protocols ?? [], protocols);
  if (unknown !== undefined) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `${optionName}.protocols: ${unknown}`);
  }
  if (entry.token.length < MIN_TOKEN_LENGTH) {
    logAccess('%s: token shorter than %d characters', optionName, MIN_TOKEN_LENGTH);
  }
}

/** Rejects an empty list, because it could mean all or none. */
const LIST: OptionCheck = {
  expected: 'a non-empty array of non-empty strings',
  accepts: (value) =>
    Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === 'string' && each !== ''),
};

const CHECKS: Readonly<Record<keyof AccessToken, OptionCheck>> = {
  token: TOKEN,
  level: LEVEL,
  protocols: LIST,
  namespaces: LIST,
  scope: SCOPE_NAME,
  reads: {
    expected: `an array of at most ${MAX_SCOPES - 1} names of scopes`,
    accepts: (value) =>
      LIST.accepts(value) && Array.isArray(value) && value.length < MAX_SCOPES && value.every(SCOPE_NAME.accepts),
  },
  overwrite: FLAG,
  name: SUBJECT,
};
