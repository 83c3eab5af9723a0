import { HotblobError } from '../../contract/errors.js';
import { countFrom, invalidOption, OBJECT, type OptionCheck, unknownOption } from '../../contract/validation.js';
import { type ArtifactFilter, FILTER_CHECKS, keyMatcher } from '../../keys/artifact-filter.js';
import { formatBytes } from '../../util/units.js';

/** Limits of the artifacts that a filter selects. An artifact belongs to the first rule that matches its key. */
export interface RetentionRule extends ArtifactFilter {
  /** Time since the last use (upload or read) after which an artifact is removed, in milliseconds. Default: no limit. */
  readonly maxAgeMs?: number | undefined;
  /**
   * Limit for all artifacts of the rule together, in bytes, counted as for `maxBytes` of the store. When an upload exceeds it,
   * least recently used artifacts of the same rule are evicted. Default: only the limit of the store.
   */
  readonly maxBytes?: number | undefined;
}

/** More rules are a mistake: one rule with a pattern covers any number of scopes. */
const MAX_RULES = 32;

const LIMITS = { maxAgeMs: countFrom(1), maxBytes: countFrom(1) };
const RULE_CHECKS: Readonly<Record<keyof RetentionRule, OptionCheck>> = { ...FILTER_CHECKS, ...LIMITS };

/** Check of the option `retain`. {@link RetentionRules} checks the rules themselves. */
export const RETAIN: OptionCheck = {
  expected: `an array of at most ${MAX_RULES} rules`,
  accepts: (value) => Array.isArray(value) && value.length <= MAX_RULES,
};

/** Artifacts with common limits: those of one rule, or the rest. */
export interface RetentionGroup {
  /** 0 for the artifacts of no rule, otherwise the number of the rule, from 1. */
  readonly index: number;
  /** Infinity if there is no limit. */
  readonly maxBytes: number;
  /** Infinity if there is no limit. */
  readonly maxAgeMs: number;
  /**
   * Whether uploads into other groups never evict artifacts of this group while it is within its limit. This is so if it has a
   * limit in bytes.
   */
  readonly isProtected: boolean;
}

const REST: RetentionGroup = {
  index: 0,
  maxBytes: Number.POSITIVE_INFINITY,
  maxAgeMs: Number.POSITIVE_INFINITY,
  isProtected: false,
};

/** Compiled rules of a store. */
export class RetentionRules {
  /** Group of the artifacts of no rule, then the groups of the rules, in their order. */
  readonly groups: readonly [RetentionGroup, ...RetentionGroup[]];
  /** Shortest `maxAgeMs` of the rules; undefined if no rule has one. */
  readonly minAgeMs: number | undefined;
  /** Filters of the rules, in their order. */
  readonly filters: readonly ArtifactFilter[];
  readonly #matchers: readonly { readonly matches: (key: string) => boolean; readonly group: RetentionGroup }[];

  /**
   * @param maxBytes limit of the store
   * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid rule, or if the limits of the rules exceed that of the store
   */
  constructor(rules: readonly RetentionRule[] = [], maxBytes = Number.POSITIVE_INFINITY) {
    if (!RETAIN.accepts(rules)) throw invalidOption('retain', RETAIN.expected, rules);
    rules.forEach(assertRule);
    assertSum(rules, maxBytes);
    this.filters = rules.map(({ scope, namespace, protocol }) => ({ scope, namespace, protocol }));
    const groups = rules.map(groupOfRule);
    this.groups = [REST, ...groups];
    this.#matchers = groups.map((group, index) => ({ matches: keyMatcher(this.filters[index] ?? {}), group }));
    const minAgeMs = Math.min(...groups.map(({ maxAgeMs }) => maxAgeMs));
    this.minAgeMs = minAgeMs === Number.POSITIVE_INFINITY ? undefined : minAgeMs;
  }

  /** Returns the group of the first rule that matches a key of the store, or the rest. */
  groupOf(key: string): RetentionGroup {
    for (const { matches, group } of this.#matchers) if (matches(key)) return group;
    return REST;
  }
}

function groupOfRule(
  { maxBytes = Number.POSITIVE_INFINITY, maxAgeMs = Number.POSITIVE_INFINITY }: RetentionRule,
  index: number,
): RetentionGroup {
  return { index: index + 1, maxBytes, maxAgeMs, isProtected: maxBytes !== Number.POSITIVE_INFINITY };
}

function assertRule(rule: RetentionRule, index: number): void {
  const name = `retain[${index}]`;
  if (!OBJECT.accepts(rule)) throw invalidOption(name, 'a rule, such as { scope: "pr/*", maxBytes: 2 ** 31 }', rule);
  for (const [member, value] of Object.entries(rule)) {
    const check = Object.hasOwn(RULE_CHECKS, member) ? RULE_CHECKS[member as keyof RetentionRule] : undefined;
    if (check === undefined) throw unknownOption(`${name}.${member}`, Object.keys(RULE_CHECKS));
    if (value !== undefined && !check.accepts(value)) throw invalidOption(`${name}.${member}`, check.expected, value);
  }
  if (rule.maxAgeMs === undefined && rule.maxBytes === undefined) {
    throw invalidOption(name, 'a rule with maxAgeMs, maxBytes or both', rule);
  }
}

function assertSum(rules: readonly RetentionRule[], maxBytes: number): void {
  const sum = rules.reduce((total, rule) => total + (rule.maxBytes ?? 0), 0);
  if (sum <= maxBytes) return;
  const message =
    `retain: expected rules whose maxBytes add up to at most maxBytes of the store, ${maxBytes} (${formatBytes(maxBytes)}), ` +
    `received ${sum} (${formatBytes(sum)}); raise maxBytes of the store, or lower that of a rule`;
  throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
}
