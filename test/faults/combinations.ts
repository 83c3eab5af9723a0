import { type Facts, type Verdict, verdictOf } from './rfc9110.js';

/** Request with conditional headers and a Range, and the status that RFC 9110 requires. */
export interface Combination {
  readonly method: Facts['method'];
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly verdict: Verdict;
  /** Selected bytes of a 206. */
  readonly part: readonly [first: number, last: number] | undefined;
}

/** Content of the artifact, which is also its key. Its entity tag is `"tag"`, and its modification date is `DATE`. */
export const ARTIFACT = '0123456789';
const DATE = 'Thu, 29 Feb 2024 12:00:00 GMT';
const BEFORE = 'Thu, 29 Feb 2024 11:59:59 GMT';

/** Values of each header: absent, a condition that is true, one that is false, and one to be ignored. */
type Values<T> = readonly (readonly [text: string | undefined, meaning: T | undefined])[];
const NONE = [undefined, undefined] as const;
const IF_MATCH: Values<boolean> = [NONE, ['"x", "tag"', true], ['W/"tag"', false]];
const IF_UNMODIFIED_SINCE: Values<boolean> = [NONE, [DATE, true], [BEFORE, false]];
const IF_NONE_MATCH: Values<boolean> = [NONE, ['"x"', true], ['W/"tag"', false]];
const IF_MODIFIED_SINCE: Values<boolean> = [NONE, [BEFORE, true], [DATE, false]];
const IF_RANGE: Values<boolean> = [NONE, ['"tag"', true], ['"x"', false]];
const RANGE: Values<'satisfiable' | 'unsatisfiable'> = [
  NONE,
  ['bytes=2-4', 'satisfiable'],
  ['bytes=10-', 'unsatisfiable'],
  ['bytes=4-2', undefined],
];

/** Returns every combination of Range and the conditional headers, for every method and for a missing artifact. */
export function everyCombination(): Combination[] {
  const combinations: Combination[] = [];
  for (const [ifMatchText, ifMatch] of IF_MATCH) {
    for (const [ifUnmodifiedText, ifUnmodifiedSince] of IF_UNMODIFIED_SINCE) {
      for (const [ifNoneMatchText, ifNoneMatch] of IF_NONE_MATCH) {
        for (const [ifModifiedText, ifModifiedSince] of IF_MODIFIED_SINCE) {
          for (const [ifRangeText, ifRange] of IF_RANGE) {
            for (const [rangeText, range] of RANGE) {
              const headers = defined({
                'if-match': ifMatchText,
                'if-unmodified-since': ifUnmodifiedText,
                'if-none-match': ifNoneMatchText,
                'if-modified-since': ifModifiedText,
                'if-range': ifRangeText,
                range: rangeText,
              });
              const facts = { ifMatch, ifUnmodifiedSince, ifNoneMatch, ifModifiedSince, ifRange, range };
              combinations.push(...withEveryMethod(headers, facts));
            }
          }
        }
      }
    }
  }
  return combinations;
}

function withEveryMethod(headers: Combination['headers'], facts: Omit<Facts, 'method' | 'exists'>): Combination[] {
  const existing = (['GET', 'HEAD', 'PUT', 'DELETE'] as const).map((method) => {
    const verdict = verdictOf({ method, exists: true, ...facts });
    return { method, path: `/${ARTIFACT}`, headers, verdict, part: verdict === 206 ? ([2, 4] as const) : undefined };
  });
  // Conditions of a GET do not apply if there is no artifact.
  return [...existing, { method: 'GET', path: '/missing', headers, verdict: 404, part: undefined }];
}

function defined(headers: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
