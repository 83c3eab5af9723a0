import { PROTOCOL_NAMES } from '../../keys/artifact-key.js';
import type { RetentionRule } from '../../stores/retention/rules.js';
import { didYouMean } from '../../util/closest-name.js';
import { formatBytes, parseDuration } from '../../util/units.js';
import { UsageError } from '../command.js';
import { parseName, parseSize } from '../option-values.js';

const EXAMPLE = "'scope=pr/* max-age=7d max-size=2GiB'";
const WORDS = ['scope', 'namespace', 'protocol', 'max-age', 'max-size'] as const;
type Word = (typeof WORDS)[number];

/**
 * Parses the values of `--retain`.
 *
 * @param maxBytes value of `--max-size`
 * @throws UsageError
 */
export function parseRetain(
  texts: readonly string[] | undefined,
  maxBytes: number | undefined,
): readonly RetentionRule[] | undefined {
  if (texts === undefined) return undefined;
  const rules = texts.map(parseRule);
  const sum = rules.reduce((total, rule) => total + (rule.maxBytes ?? 0), 0);
  if (sum > (maxBytes ?? Number.POSITIVE_INFINITY)) {
    const sizes = `${formatBytes(maxBytes ?? 0)}, received ${formatBytes(sum)}`;
    const remedy = 'raise --max-size, or lower a max-size';
    throw new UsageError(
      `--retain: expected values of max-size that add up to at most --max-size, ${sizes}; ${remedy}`,
    );
  }
  return rules;
}

function parseRule(text: string): RetentionRule {
  const words = new Map<Word, string>();
  for (const part of text.trim().split(/\s+/)) {
    const [name = '', ...rest] = part.split('=');
    const value = rest.join('=');
    const word = WORDS.find((each) => each === name);
    if (word === undefined) {
      const hint = didYouMean(name, WORDS);
      throw new UsageError(`--retain: unknown word '${name}'${hint}; expected words such as ${EXAMPLE}`);
    }
    if (value === '') throw new UsageError(`--retain: ${word}: expected a value, such as ${EXAMPLE}`);
    if (words.has(word)) throw new UsageError(`--retain: ${word}: expected once in a rule, received several times`);
    words.set(word, value);
  }
  const age = words.get('max-age');
  const size = words.get('max-size');
  if (age === undefined && size === undefined) {
    throw new UsageError(`--retain: expected max-age, max-size or both, received '${text}'; for example ${EXAMPLE}`);
  }
  const protocol = words.get('protocol');
  return {
    scope: words.get('scope'),
    namespace: words.get('namespace'),
    protocol: protocol && parseName('--retain: protocol', protocol, 'protocol', PROTOCOL_NAMES),
    maxAgeMs: age === undefined ? undefined : parseAge(age),
    maxBytes: parseMaxSize(size),
  };
}

function parseAge(text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined && ms > 0) return ms;
  const hint = /^\d+$/.test(text) ? ` (did you mean ${text}d?)` : '';
  throw new UsageError(`--retain: max-age: expected a time such as 7d, 12h or 30m, received '${text}'${hint}`);
}

function parseMaxSize(text: string | undefined): number | undefined {
  const bytes = parseSize('--retain: max-size', text);
  if (bytes === 0) throw new UsageError(`--retain: max-size: expected a size from 1, received '${text}'`);
  return bytes;
}
