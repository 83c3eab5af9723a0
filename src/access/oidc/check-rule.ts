import { FLAG } from '../../contract/validation.js';
import { MAX_SCOPES } from '../grant.js';
import { ANONYMOUS, describeUnknownProtocol } from '../token-syntax.js';
import { CERTIFICATE_FIELD, FINGERPRINT } from './certificate-fields.js';
import { type Check, isObject, listCheck, objectCheck, oneOrMore, TEXT, valueCheck } from './check.js';
import { OptionError, type OptionPath, unexpected } from './option-error.js';
import type { OidcRule, Patterns } from './options.js';
import { missingOwner } from './public-issuers.js';
import { CERTIFICATE_PREFIX } from './rule.js';
import { ScopeTemplate } from './scope-template.js';

const FIELDS = "subject.NAME (such as 'subject.CN'), san or fingerprint256";

const checkTemplate: Check = (value, path) => {
  if (typeof value !== 'string') throw unexpected(path, 'the name of a scope', value);
  try {
    new ScopeTemplate(value);
  } catch (error) {
    if (error instanceof Error) throw unexpected(path, error.message, value);
    throw error;
  }
};

/** An empty pattern matches an empty claim, such as `head_ref` of a push. */
const checkPattern = oneOrMore(
  valueCheck({ expected: 'a pattern, which is a string', accepts: (value) => typeof value === 'string' }),
);

const checkFingerprint = oneOrMore(
  valueCheck({
    expected:
      'a SHA-256 digest as 64 upper-case hex digits with colons, as openssl x509 -fingerprint -sha256 prints it',
    accepts: (value) => typeof value === 'string' && FINGERPRINT.test(value),
  }),
);

/** @param checkName checks the name of a claim or field, and returns the check of its patterns */
function conditionsCheck(checkName: (name: string, path: OptionPath) => Check): Check {
  return (value, path) => {
    if (!isObject(value) || Object.keys(value).length === 0)
      throw unexpected(path, 'an object with at least one pattern', value);
    for (const [name, patterns] of Object.entries(value)) checkName(name, path)(patterns, [...path, name]);
  };
}

const CONDITIONS = conditionsCheck((name, path) => {
  if (name === '') throw new OptionError(path, 'expected names of claims, received an empty name');
  return checkPattern;
});

const CERTIFICATE_CONDITIONS = conditionsCheck((name, path) => {
  if (!CERTIFICATE_FIELD.test(name)) throw new OptionError([...path, name], `unknown field; expected ${FIELDS}`);
  return name === 'fingerprint256' ? checkFingerprint : checkPattern;
});

/** @param own names of further protocols */
function fieldsCheck(own: readonly string[]): Check {
  const checkProtocols: Check = (value, path) => {
    listCheck(TEXT)(value, path);
    const problem = Array.isArray(value) ? describeUnknownProtocol(value, own) : undefined;
    if (problem !== undefined) throw new OptionError(path, problem);
  };
  return objectCheck(
    {
      issuer: TEXT,
      when: CONDITIONS,
      certificate: CERTIFICATE_CONDITIONS,
      level: valueCheck(ANONYMOUS),
      protocols: checkProtocols,
      namespaces: listCheck(TEXT),
      scope: checkTemplate,
      reads: listCheck(checkTemplate),
      overwrite: valueCheck(FLAG),
    },
    ['level'],
  );
}

/**
 * Returns a check of an {@link OidcRule}.
 *
 * @param issuers names of the issuers
 * @param own names of further protocols
 */
export function ruleCheck(issuers: readonly string[], own: readonly string[]): Check {
  const checkFields = fieldsCheck(own);
  return (value, path) => {
    checkFields(value, path);
    const rule = value as OidcRule; // checkFields() has checked every property
    checkConditions(rule, path, issuers);
    checkPlaceholders(rule, path);
    const { level, scope, reads = [], overwrite } = rule;
    for (const [name, option] of Object.entries({ scope, reads: rule.reads, overwrite })) {
      if (level === 'none' && option !== undefined) {
        throw new OptionError(
          [...path, name],
          "expected no such property beside the level 'none', which grants nothing; remove it",
        );
      }
    }
    if (new Set([...reads, scope ?? 'default']).size > MAX_SCOPES) {
      throw new OptionError(
        [...path, 'reads'],
        `expected at most ${MAX_SCOPES} scopes with the own scope, received more`,
      );
    }
  };
}

function checkConditions(
  { issuer, when, certificate, level }: OidcRule,
  path: OptionPath,
  issuers: readonly string[],
): void {
  if (when === undefined && certificate === undefined) {
    throw new OptionError(
      path,
      'expected when or certificate, because a rule without conditions would match every client',
    );
  }
  if (when === undefined) {
    if (issuer === undefined) return;
    throw new OptionError([...path, 'issuer'], 'expected no issuer in a rule without when; remove it');
  }
  if (issuers.length === 0)
    throw new OptionError([...path, 'when'], 'expected issuers, because claims come from tokens; add issuers');
  if (issuer === undefined && issuers.length > 1) {
    throw new OptionError(path, `expected an issuer, because there are several; add one of ${issuers.join(', ')}`);
  }
  if (issuer !== undefined && !issuers.includes(issuer)) {
    throw unexpected([...path, 'issuer'], `one of ${issuers.join(', ')}`, issuer);
  }
  if (level !== 'none') checkOwner(issuer ?? issuers[0] ?? '', when, path);
}

function checkOwner(issuer: string, when: Patterns, path: OptionPath): void {
  const missing = missingOwner(issuer, when);
  if (missing === undefined) return;
  const message = `expected a claim that names the owner, because ${issuer} signs tokens for the builds of anyone`;
  throw new OptionError(
    [...path, 'when'],
    `${message}; add one of ${missing.join(', ')}, without a wildcard in the name of the owner`,
  );
}

/** A placeholder can only be replaced if the rule requires what it comes from. */
function checkPlaceholders({ when, certificate, scope, reads = [] }: OidcRule, path: OptionPath): void {
  const templates: readonly (readonly [OptionPath, string])[] = [
    ...(scope === undefined ? [] : [[['scope'], scope] as const]),
    ...reads.map((text, index) => [['reads', index], text] as const),
  ];
  for (const [at, text] of templates) {
    for (const name of new ScopeTemplate(text).names) {
      const isField = name.startsWith(CERTIFICATE_PREFIX);
      const target = [...path, ...at];
      if (isField && !CERTIFICATE_FIELD.test(name.slice(CERTIFICATE_PREFIX.length))) {
        throw new OptionError(target, `{${name}}: unknown field; expected ${FIELDS} after '${CERTIFICATE_PREFIX}'`);
      }
      if ((isField ? certificate : when) === undefined) {
        throw new OptionError(
          target,
          `{${name}}: expected the rule to have ${isField ? 'certificate' : 'when'}; add it`,
        );
      }
    }
  }
}
