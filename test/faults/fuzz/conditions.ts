import fc from 'fast-check';
import type { Facts } from '../rfc9110.js';

/** What was put under a key, and how its store has described it since. */
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

/** Conditional headers by what they mean, so that they stay true when a case is made smaller. */
export interface Conditions {
  readonly ifMatch?: Tag | undefined;
  readonly ifNoneMatch?: Tag | undefined;
  readonly ifModifiedSince?: DateOf | undefined;
  readonly ifUnmodifiedSince?: DateOf | undefined;
  readonly ifRange?: { readonly tag: Tag } | { readonly date: DateOf } | undefined;
}

// Several at once hide each other: most are to be alone.
const seldom = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
const tag = fc.constantFrom(...TAGS);
const date = fc.constantFrom(...DATES);

export const conditions: fc.Arbitrary<Conditions> = fc.oneof(
  { weight: 1, arbitrary: fc.constant({}) },
  {
    weight: 2,
    arbitrary: fc.record({
      ifMatch: seldom(tag),
      ifNoneMatch: seldom(tag),
      ifModifiedSince: seldom(date),
      ifUnmodifiedSince: seldom(date),
      ifRange: seldom(fc.oneof(fc.record({ tag }), fc.record({ date }))),
    }),
  },
);

type Resolved = Pick<Facts, 'ifMatch' | 'ifNoneMatch' | 'ifModifiedSince' | 'ifUnmodifiedSince' | 'ifRange'> & {
  readonly headers: Record<string, string>;
};

/** The headers, and what each comes to where `current` is there; `earlier` was there before. */
export function resolve(asked: Conditions, current: Version | undefined, earlier: Version | undefined): Resolved {
  const headers: Record<string, string> = {};
  const set = (name: string, text: string): void => {
    headers[name] = text;
  };
  const match = asked.ifMatch && listOf(asked.ifMatch, current, earlier);
  const noneMatch = asked.ifNoneMatch && listOf(asked.ifNoneMatch, current, earlier);
  const since = asked.ifModifiedSince && dateOf(asked.ifModifiedSince, current);
  const until = asked.ifUnmodifiedSince && dateOf(asked.ifUnmodifiedSince, current);
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
    ifRange: ifRangeOf(asked.ifRange, current, earlier, set),
  };
}

function ifRangeOf(
  asked: Conditions['ifRange'],
  current: Version | undefined,
  earlier: Version | undefined,
  set: (name: string, text: string) => void,
): boolean | undefined {
  if (asked === undefined) return undefined;
  if ('date' in asked) {
    set('if-range', dateOf(asked.date, current).text);
    // What is put twice in a second has one date for two bodies: with an entity tag at hand no date is strong (13.1.5).
    return false;
  }
  const { text } = listOf(asked.tag, current, earlier);
  set('if-range', text);
  return text === current?.etag;
}

interface List {
  readonly text: string;
  readonly members: readonly string[];
}

function listOf(asked: Tag, current: Version | undefined, earlier: Version | undefined): List {
  const now = current?.etag ?? '"nothing"';
  const before = earlier?.etag ?? '"nothing before"';
  switch (asked) {
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

function dateOf(asked: DateOf, current: Version | undefined): { readonly text: string; readonly seconds?: number } {
  if (asked === 'none') return { text: 'yesterday' };
  const now = Date.parse(current?.lastModified ?? new Date().toUTCString()) / 1000;
  const seconds = now + { current: 0, before: -1, after: 1 }[asked];
  return { text: new Date(seconds * 1000).toUTCString(), seconds };
}

/** Undefined where the header is to be ignored: no date, or nothing to compare it with. */
function isAfter(current: Version | undefined, seconds: number | undefined): boolean | undefined {
  if (current === undefined || seconds === undefined) return undefined;
  return Date.parse(current.lastModified) / 1000 > seconds;
}

function negated(value: boolean | undefined): boolean | undefined {
  return value === undefined ? undefined : !value;
}
