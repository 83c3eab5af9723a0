import fc from 'fast-check';
import type { Facts } from '../rfc9110.js';

/** Uploaded artifact, and its validators from the store. */
export interface Version {
  readonly bytes: Buffer;
  readonly contentType: string;
  readonly etag: string;
  readonly lastModified: string;
}

const TAGS = ['current', 'weak', 'earlier', 'other', 'in a list', 'not in a list', 'any'] as const;
const DATES = ['current', 'before', 'after', 'none'] as const;
type Tag = (typeof TAGS)[number];
type DateOf = (typeof DATES)[number];

/** Conditional headers by their meaning, so that they keep it when fast-check shrinks a case. */
export interface Conditions {
  readonly ifMatch?: Tag | undefined;
  readonly ifNoneMatch?: Tag | undefined;
  readonly ifModifiedSince?: DateOf | undefined;
  readonly ifUnmodifiedSince?: DateOf | undefined;
  readonly ifRange?: { readonly tag: Tag } | { readonly date: DateOf } | undefined;
}

// Several conditions hide each other, so most should be absent.
const rarely = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
const tag = fc.constantFrom(...TAGS);
const date = fc.constantFrom(...DATES);

export const conditions: fc.Arbitrary<Conditions> = fc.oneof(
  { weight: 1, arbitrary: fc.constant({}) },
  {
    weight: 2,
    arbitrary: fc.record({
      ifMatch: rarely(tag),
      ifNoneMatch: rarely(tag),
      ifModifiedSince: rarely(date),
      ifUnmodifiedSince: rarely(date),
      ifRange: rarely(fc.oneof(fc.record({ tag }), fc.record({ date }))),
    }),
  },
);

type Resolved = Pick<Facts, 'ifMatch' | 'ifNoneMatch' | 'ifModifiedSince' | 'ifUnmodifiedSince' | 'ifRange'> & {
  readonly headers: Record<string, string>;
};

/** Returns the headers and the result of each condition for the version `current`. `earlier` is the previous version. */
export function resolve(condition: Conditions, current: Version | undefined, earlier: Version | undefined): Resolved {
  const headers: Record<string, string> = {};
  const set = (name: string, text: string): void => {
    headers[name] = text;
  };
  const match = condition.ifMatch && listOf(condition.ifMatch, current, earlier);
  const noneMatch = condition.ifNoneMatch && listOf(condition.ifNoneMatch, current, earlier);
  const since = condition.ifModifiedSince && dateOf(condition.ifModifiedSince, current);
  const until = condition.ifUnmodifiedSince && dateOf(condition.ifUnmodifiedSince, current);
  if (match) set('if-match', match.text);
  if (noneMatch) set('if-none-match', noneMatch.text);
  if (since) set('if-modified-since', since.text);
  if (until) set('if-unmodified-since', until.text);
  return {
    headers,
    ifMatch: match && isListed(match, current, (listed) => listed),
    ifNoneMatch: noneMatch && !isListed(noneMatch, current, (listed) => listed.replace(/^W\//, '')),
    ifModifiedSince: since && isAfter(current, since.seconds),
    ifUnmodifiedSince: until && negated(isAfter(current, until.seconds)),
    ifRange: ifRangeOf(condition.ifRange, current, earlier, set),
  };
}

function ifRangeOf(
  condition: Conditions['ifRange'],
  current: Version | undefined,
  earlier: Version | undefined,
  set: (name: string, text: string) => void,
): boolean | undefined {
  if (condition === undefined) return undefined;
  if ('date' in condition) {
    set('if-range', dateOf(condition.date, current).text);
    // Two uploads within a second have the same date, so a date is not a strong validator if there is an entity tag (13.1.5).
    return false;
  }
  const { text } = listOf(condition.tag, current, earlier);
  set('if-range', text);
  return text === current?.etag;
}

interface List {
  readonly text: string;
  readonly members: readonly string[];
}

function listOf(condition: Tag, current: Version | undefined, earlier: Version | undefined): List {
  const now = current?.etag ?? '"nothing"';
  const before = earlier?.etag ?? '"nothing before"';
  switch (condition) {
    case 'current':
      return { text: now, members: [now] };
    case 'weak':
      return { text: `W/${now}`, members: [`W/${now}`] };
    case 'earlier':
      return { text: before, members: [before] };
    case 'other':
      return { text: '"other"', members: ['"other"'] };
    case 'in a list':
      return { text: `"a,b",, ${now} ,W/"c"`, members: ['"a,b"', now, 'W/"c"'] };
    case 'not in a list':
      return { text: `"a","${now.slice(1)}`, members: ['"a"', `"${now.slice(1)}`] };
    case 'any':
      return { text: '*', members: ['*'] };
  }
}

function isListed({ members }: List, current: Version | undefined, seen: (member: string) => string): boolean {
  if (current === undefined) return false;
  return members.some((member) => member === '*' || seen(member) === current.etag);
}

function dateOf(condition: DateOf, current: Version | undefined): { readonly text: string; readonly seconds?: number } {
  if (condition === 'none') return { text: 'yesterday' };
  const now = Date.parse(current?.lastModified ?? new Date().toUTCString()) / 1000;
  const seconds = now + { current: 0, before: -1, after: 1 }[condition];
  return { text: new Date(seconds * 1000).toUTCString(), seconds };
}

/** Returns `undefined` if the header must be ignored: it has no valid date, or there is no artifact. */
function isAfter(current: Version | undefined, seconds: number | undefined): boolean | undefined {
  if (current === undefined || seconds === undefined) return undefined;
  return Date.parse(current.lastModified) / 1000 > seconds;
}

function negated(value: boolean | undefined): boolean | undefined {
  return value === undefined ? undefined : !value;
}
