import { MILLISECONDS } from '../../contract/validation.js';
import { isLoopbackName } from '../hosts.js';
import { type Check, isObject, listCheck, objectCheck, oneOrMore, TEXT, valueCheck } from './check.js';
import { OptionError, unexpected } from './option-error.js';
import { unusableReason } from './signing-key.js';

const DAY_MS = 86_400_000;

/** Check of a URL. Without TLS, an attacker in the network could replace the keys. */
const URL_CHECK = valueCheck({
  expected:
    "an https: URL such as 'https://token.actions.githubusercontent.com', or an http: URL of a loopback address",
  accepts: (value) => typeof value === 'string' && isTrustworthy(value),
});

/** Whether an attacker in the network cannot answer requests for a URL. */
export function isTrustworthy(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password, hash } = new URL(text);
  if (username !== '' || password !== '' || hash !== '') return false;
  return protocol === 'https:' || (protocol === 'http:' && isLoopbackName(hostname));
}

const checkKey: Check = (value, path) => {
  if (!isObject(value)) throw unexpected(path, 'a public key (JWK)', value);
  // The message does not show the key, which may be private.
  for (const name of ['d', 'k']) {
    if (name in value)
      throw new OptionError(path, `expected a public key (JWK), received one with the secret member ${name}`);
  }
  const reason = unusableReason(value);
  if (reason !== undefined) throw new OptionError(path, `expected a public signing key (JWK), received ${reason}`);
};

const checkFields = objectCheck(
  {
    issuer: URL_CHECK,
    audience: oneOrMore(TEXT),
    jwksUri: URL_CHECK,
    keys: listCheck(checkKey),
    minLifetimeMs: valueCheck({
      expected: `a whole number of milliseconds from 0 to ${DAY_MS}, one day`,
      accepts: (value) => MILLISECONDS.accepts(value === 0 ? 1 : value) && Number(value) <= DAY_MS,
    }),
  },
  ['issuer', 'audience'],
);

/** Checks an `OidcIssuer`. */
export const checkIssuer: Check = (value, path) => {
  checkFields(value, path);
  if (isObject(value) && value['keys'] !== undefined && value['jwksUri'] !== undefined) {
    throw new OptionError(
      [...path, 'jwksUri'],
      'expected no jwksUri beside keys, because keys are not fetched; remove one',
    );
  }
};
