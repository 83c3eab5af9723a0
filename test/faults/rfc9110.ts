/**
 * What RFC 9110 says about conditional requests and ranges, once more: a table of rules, read from the top, over what each
 * header of a request comes to. It reads no header: those who ask know what their headers mean.
 */
export interface Facts {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
  /** Whether there is something under the key. */
  readonly exists: boolean;
  /** Of each condition whether it is true (13.1); undefined where its header is absent or to be ignored. */
  readonly ifMatch?: boolean | undefined;
  readonly ifUnmodifiedSince?: boolean | undefined;
  readonly ifNoneMatch?: boolean | undefined;
  readonly ifModifiedSince?: boolean | undefined;
  readonly ifRange?: boolean | undefined;
  /** Undefined where there is none, or one to be ignored. */
  readonly range?: 'satisfiable' | 'unsatisfiable' | undefined;
}

export type Verdict = 200 | 204 | 206 | 304 | 404 | 412 | 416;

type Rule = readonly [section: string, applies: (facts: Facts) => boolean, verdict: Verdict];

const isRead = ({ method }: Facts): boolean => method === 'GET' || method === 'HEAD';
// Ranges are defined for GET alone; an If-Range that is false takes the Range away.
const hasRange = ({ method, ifRange }: Facts): boolean => method === 'GET' && ifRange !== false;

const RULES: readonly Rule[] = [
  // What would fail without its conditions fails with them.
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

export function verdictOf(facts: Facts): Verdict {
  const rule = RULES.find(([, applies]) => applies(facts));
  if (rule === undefined) throw new Error('the last rule applies to everything');
  return rule[2];
}
