import { MILLISECONDS } from '../../contract/validation.js';
import { DEFAULT_SCOPE } from '../../keys/scope.js';
import { OWN_PROTOCOLS } from '../token-syntax.js';
import { type Check, listCheck, objectCheck, valueCheck } from './check.js';
import { checkIssuer } from './check-issuer.js';
import { ruleCheck } from './check-rule.js';
import { OptionError } from './option-error.js';
import type { OidcOptions, OidcRule } from './options.js';
import { ScopeTemplate } from './scope-template.js';

/** Lower bound of `cacheMs`: with a shorter time, each request could fetch keys. */
const MIN_CACHE_MS = 60_000;

const accept: Check = () => {};

const checkFields = objectCheck(
  {
    issuers: listCheck(checkIssuer),
    // The rules are checked afterwards, because their check depends on the issuers.
    rules: listCheck(accept),
    protocols: valueCheck(OWN_PROTOCOLS),
    cacheMs: valueCheck({
      expected: `a whole number of milliseconds, ${MIN_CACHE_MS} or more`,
      accepts: (value) => MILLISECONDS.accepts(value) && Number(value) >= MIN_CACHE_MS,
    }),
    maxStaleMs: valueCheck({
      expected: 'a whole number of milliseconds, 0 or more',
      accepts: (value) => value === 0 || MILLISECONDS.accepts(value),
    }),
    timeoutMs: valueCheck(MILLISECONDS),
    clockToleranceMs: valueCheck({
      expected: 'a whole number of milliseconds from 0 to 300000, five minutes',
      accepts: (value) => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 300_000,
    }),
    onWarning: valueCheck({ expected: 'a function', accepts: (value) => typeof value === 'function' }),
  },
  ['rules'],
);

/** @throws OptionError */
export function checkOidcOptions(options: OidcOptions): void {
  checkFields(options, []);
  const { issuers = [], rules, protocols = [] } = options;
  const names = issuers.map(({ issuer }) => issuer);
  const repeated = names.findIndex((name, index) => names.indexOf(name) < index);
  if (repeated !== -1) {
    throw new OptionError(
      ['issuers', repeated, 'issuer'],
      'expected each issuer once; give one issuer several audiences',
    );
  }
  listCheck(ruleCheck(names, protocols))(rules, ['rules']);
  for (const [index, rule] of rules.entries()) checkScopeIsApart(rule, index, rules);
}

/**
 * Rejects a rule whose placeholders could result in the scope of another rule, or in that of clients without a scope: the writer of
 * a branch could then choose a name with which its artifacts are those of, for example, the main branch. The same text in several
 * rules is intended.
 */
function checkScopeIsApart({ level, scope }: OidcRule, index: number, rules: readonly OidcRule[]): void {
  if (level !== 'write' || scope === undefined) return;
  const template = new ScopeTemplate(scope);
  if (template.names.length === 0) return;
  const scopes = rules.flatMap((rule) => [...(rule.scope === undefined ? [] : [rule.scope]), ...(rule.reads ?? [])]);
  const shared = [...scopes, DEFAULT_SCOPE].find(
    (other) => other !== scope && template.overlaps(new ScopeTemplate(other)),
  );
  if (shared === undefined) return;
  const user = shared === DEFAULT_SCOPE ? 'clients without a scope use' : 'another rule uses';
  const expected = `a scope that cannot become '${shared}', which ${user}`;
  throw new OptionError(
    ['rules', index, 'scope'],
    `expected ${expected}, received '${scope}'; begin it with a segment of its own, such as 'pr/'`,
  );
}
