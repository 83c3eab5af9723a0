/**
 * Facts about a request. With {@link verdictOf} they are a second implementation of conditional requests and ranges of RFC
 * 9110: a table of rules, of which the first one that applies determines the status. It parses no headers; the tests know
 * what theirs mean.
 */
export interface Facts {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
  /** `true` if there is an artifact under the key. */
  readonly exists: boolean;
  /** Result of the condition (13.1). `undefined` if the header is absent or must be ignored; likewise for the others. */
  readonly ifMatch?: boolean | undefined;
  readonly ifUnmodifiedSince?: boolean | undefined;
  readonly ifNoneMatch?: boolean | undefined;
  readonly ifModifiedSince?: boolean | undefined;
  readonly ifRange?: boolean | undefined;
  /** `undefined` if there is no Range, or one that must be ignored. */
  readonly range?: 'satisfiable' | 'unsatisfiable' | undefined;
}

export type Verdict = 200 | 204 | 206 | 304 | 404 | 412 | 416;

type Rule = readonly [section: string, applies: (facts: Facts) => boolean, verdict: Verdict];

const isRead = ({ method }: Facts): boolean => method === 'GET' || method === 'HEAD';
// Ranges are defined only for GET. If If-Range is false, the Range is ignored.
const hasRange = ({ method, ifRange }: Facts): boolean => method === 'GET' && ifRange !== false;

const RULES: readonly Rule[] = [
  // Conditions are ignored if the request would fail without them.
  ['13.2.1', (facts) => !facts.exists && facts.method !== 'PUT', 404],
  ['13.2.2, 1', (facts) => facts.ifMatch === false, 412],
  ['13.2.2, 2', (facts) => facts.ifMatch === undefined && facts.ifUnmodifiedSince === false, 412],
  ['13.2.2, 3', (facts) => facts.ifNoneMatch === false && isRead(facts), 304],
  ['13.2.2, 3', (facts) => facts.ifNoneMatch === false, 412],
  ['13.2.2, 4', (f) => isRead(f) && f.ifNoneMatch === undefined && f.ifModifiedSince === false, 304],
  ['13.2.2, 5', (facts) => hasRange(facts) && facts.range === 'satisfiable', 206],
  ['14.2', (facts) => hasRange(facts) && facts.range === 'unsatisfiable', 416],
  ['9.3.5', (facts) => facts.method === 'DELETE', 204],
  ['13.2.2, 6', () => true, 200],
];

/** Returns the status that RFC 9110 requires. */
export function verdictOf(facts: Facts): Verdict {
  const rule = RULES.find(([, applies]) => applies(facts));
  if (rule === undefined) throw new Error('expected the last rule to apply');
  return rule[2];
}
