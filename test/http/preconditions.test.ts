import type { IncomingHttpHeaders } from 'node:http';
import test from 'ava';
import fc from 'fast-check';
import { httpDate } from '../../src/http/http-date.js';
import { evaluatePreconditions, ifRangeHolds, type Validators } from '../../src/http/preconditions.js';

const CHANGED = Date.UTC(2024, 4, 6, 7, 8, 9);
const SAME_TIME = httpDate(CHANGED).text;
const EARLIER = httpDate(CHANGED - 1000).text;
const LATER = httpDate(CHANGED + 1000).text;

const STRONG: Validators = { etag: '"a"', lastModified: httpDate(CHANGED) };
const WEAK: Validators = { etag: 'W/"a"', lastModified: httpDate(CHANGED) };
const COMMA: Validators = { etag: '"a,b"', lastModified: undefined };
const BARE: Validators = { etag: undefined, lastModified: undefined };
const DATED: Validators = { etag: undefined, lastModified: httpDate(CHANGED) };

const METHODS = ['GET', 'HEAD', 'PUT', 'DELETE'] as const;

/** Expected outcome for GET and HEAD (`read`), and for PUT and DELETE (`write`). */
type Case = readonly [
  current: Validators | undefined,
  request: IncomingHttpHeaders,
  read: 'proceed' | 304 | 412,
  write: 'proceed' | 412,
];

const CASES: readonly Case[] = [
  [STRONG, {}, 'proceed', 'proceed'],
  [undefined, {}, 'proceed', 'proceed'],

  // If-Match (RFC 9110, section 13.1.1): strong comparison.
  [STRONG, { 'if-match': '"a"' }, 'proceed', 'proceed'],
  [STRONG, { 'if-match': '"b"' }, 412, 412],
  [STRONG, { 'if-match': '"b", "a"' }, 'proceed', 'proceed'],
  [STRONG, { 'if-match': 'W/"a"' }, 412, 412],
  [WEAK, { 'if-match': 'W/"a"' }, 412, 412],
  [WEAK, { 'if-match': '"a"' }, 412, 412],
  [STRONG, { 'if-match': '*' }, 'proceed', 'proceed'],
  [BARE, { 'if-match': '*' }, 'proceed', 'proceed'],
  [BARE, { 'if-match': '"a"' }, 412, 412],
  [undefined, { 'if-match': '*' }, 412, 412],
  [undefined, { 'if-match': '"a"' }, 412, 412],
  [STRONG, { 'if-match': '' }, 412, 412],

  // If-Unmodified-Since (section 13.1.4).
  [STRONG, { 'if-unmodified-since': SAME_TIME }, 'proceed', 'proceed'],
  [STRONG, { 'if-unmodified-since': LATER }, 'proceed', 'proceed'],
  [STRONG, { 'if-unmodified-since': EARLIER }, 412, 412],
  [STRONG, { 'if-unmodified-since': 'Mon, 06 May 24 07:08:08 GMT' }, 'proceed', 'proceed'],
  [STRONG, { 'if-unmodified-since': '2000-01-01' }, 'proceed', 'proceed'],
  [BARE, { 'if-unmodified-since': EARLIER }, 'proceed', 'proceed'],
  [undefined, { 'if-unmodified-since': EARLIER }, 'proceed', 'proceed'],

  // If-None-Match (section 13.1.2): weak comparison.
  [STRONG, { 'if-none-match': '"a"' }, 304, 412],
  [STRONG, { 'if-none-match': 'W/"a"' }, 304, 412],
  [WEAK, { 'if-none-match': '"a"' }, 304, 412],
  [WEAK, { 'if-none-match': 'W/"a"' }, 304, 412],
  [STRONG, { 'if-none-match': '"b"' }, 'proceed', 'proceed'],
  [STRONG, { 'if-none-match': '"b", "c", W/"a"' }, 304, 412],
  [STRONG, { 'if-none-match': ', ,"b",\t"a" ,' }, 304, 412],
  [STRONG, { 'if-none-match': '*' }, 304, 412],
  [BARE, { 'if-none-match': '*' }, 304, 412],
  [BARE, { 'if-none-match': '"a"' }, 'proceed', 'proceed'],
  [undefined, { 'if-none-match': '*' }, 'proceed', 'proceed'],
  [undefined, { 'if-none-match': '"a"' }, 'proceed', 'proceed'],
  [STRONG, { 'if-none-match': '' }, 'proceed', 'proceed'],

  // Entity tags (section 8.8.3): a quoted tag can contain commas, and there are no escapes.
  [COMMA, { 'if-none-match': '"a,b"' }, 304, 412],
  [COMMA, { 'if-none-match': '"x", "a,b"' }, 304, 412],
  [STRONG, { 'if-none-match': '"x,"a",y"' }, 'proceed', 'proceed'],
  [STRONG, { 'if-none-match': '"x,", "a"' }, 304, 412],
  [STRONG, { 'if-none-match': '"\\", "a"' }, 304, 412],
  [{ etag: '""', lastModified: undefined }, { 'if-none-match': '""' }, 304, 412],

  // Malformed lists: the tags before the error count.
  [STRONG, { 'if-none-match': 'a' }, 'proceed', 'proceed'],
  [STRONG, { 'if-none-match': 'w/"a"' }, 'proceed', 'proceed'],
  [STRONG, { 'if-none-match': 'W/ "a"' }, 'proceed', 'proceed'],
  [STRONG, { 'if-none-match': '"a' }, 'proceed', 'proceed'],
  [STRONG, { 'if-none-match': '"a", x' }, 304, 412],
  [STRONG, { 'if-none-match': 'x, "a"' }, 'proceed', 'proceed'],
  [STRONG, { 'if-none-match': '"b", *' }, 'proceed', 'proceed'],
  [STRONG, { 'if-match': 'x, "a"' }, 412, 412],

  // If-Modified-Since (section 13.1.3): for GET and HEAD only.
  [STRONG, { 'if-modified-since': SAME_TIME }, 304, 'proceed'],
  [STRONG, { 'if-modified-since': LATER }, 304, 'proceed'],
  [STRONG, { 'if-modified-since': EARLIER }, 'proceed', 'proceed'],
  [STRONG, { 'if-modified-since': 'Monday, 06-May-24 07:08:09 GMT' }, 304, 'proceed'],
  [STRONG, { 'if-modified-since': 'Mon May  6 07:08:09 2024' }, 304, 'proceed'],
  [STRONG, { 'if-modified-since': '2099-01-01' }, 'proceed', 'proceed'],
  [STRONG, { 'if-modified-since': `${LATER}, ${LATER}` }, 'proceed', 'proceed'],
  [BARE, { 'if-modified-since': LATER }, 'proceed', 'proceed'],

  // Precedence (section 13.2.2): a header with entity tags overrides the one with a date.
  [STRONG, { 'if-match': '"a"', 'if-unmodified-since': EARLIER }, 'proceed', 'proceed'],
  [STRONG, { 'if-match': '"b"', 'if-unmodified-since': LATER }, 412, 412],
  [STRONG, { 'if-none-match': '"b"', 'if-modified-since': LATER }, 'proceed', 'proceed'],
  [STRONG, { 'if-none-match': '"a"', 'if-modified-since': EARLIER }, 304, 412],
  [STRONG, { 'if-none-match': 'x', 'if-modified-since': LATER }, 'proceed', 'proceed'],
  [STRONG, { 'if-match': '"b"', 'if-none-match': '"a"' }, 412, 412],
  [STRONG, { 'if-match': '"a"', 'if-none-match': '"a"' }, 304, 412],
  [STRONG, { 'if-match': '"a"', 'if-modified-since': LATER }, 304, 'proceed'],
  [STRONG, { 'if-unmodified-since': EARLIER, 'if-none-match': '"a"' }, 412, 412],
  [STRONG, { 'if-unmodified-since': LATER, 'if-modified-since': SAME_TIME }, 304, 'proceed'],
];

for (const [current, request, read, write] of CASES) {
  const state = current === undefined ? 'nothing' : (current.etag ?? 'no validators');
  test(`${JSON.stringify(request)} for ${state}: ${read} for reads, ${write} for writes`, (t) => {
    t.is(evaluatePreconditions('GET', request, current), read);
    t.is(evaluatePreconditions('HEAD', request, current), read);
    t.is(evaluatePreconditions('PUT', request, current), write);
    t.is(evaluatePreconditions('DELETE', request, current), write);
  });
}

for (const [value, current, holds] of [
  ['"a"', STRONG, true],
  ['"b"', STRONG, false],
  ['W/"a"', STRONG, false],
  ['W/"a"', WEAK, false],
  ['"a"', WEAK, false],
  ['"a"', BARE, false],
  ['"b", "a"', STRONG, false],
  ['*', STRONG, false],
  ['', STRONG, false],
  ['a', STRONG, false],
  [SAME_TIME, STRONG, false],
  [SAME_TIME, WEAK, false],
  [SAME_TIME, DATED, true],
  ['Mon May  6 07:08:09 2024', DATED, true],
  [EARLIER, DATED, false],
  [LATER, DATED, false],
  [SAME_TIME, BARE, false],
  ['garbage', BARE, false],
] as const) {
  test(`If-Range ${JSON.stringify(value)} ${holds ? 'matches' : 'does not match'} ${current.etag}`, (t) => {
    t.is(ifRangeHolds(value, current), holds);
  });
}

const opaque = fc.string({ unit: fc.constantFrom('a', 'b', ',', ' ', '\\', '/', '*', 'W', '\u00e9'), maxLength: 3 });
const tag = fc.record({ weak: fc.boolean(), opaque });
const headerOf = ({ weak, opaque }: { weak: boolean; opaque: string }) => `${weak ? 'W/' : ''}"${opaque}"`;

test('a list matches if one of its tags matches', (t) => {
  fc.assert(
    fc.property(
      fc.array(tag, { maxLength: 4 }),
      tag,
      fc.constantFrom(',', ', ', ' ,\t', ',,'),
      (list, own, separator) => {
        const header = list.map(headerOf).join(separator);
        const current: Validators = { etag: headerOf(own), lastModified: undefined };
        const weakMatch = list.some((listed) => listed.opaque === own.opaque);
        const strongMatch = list.some((listed) => listed.opaque === own.opaque && !listed.weak && !own.weak);
        t.is(evaluatePreconditions('GET', { 'if-none-match': header }, current), weakMatch ? 304 : 'proceed');
        t.is(evaluatePreconditions('PUT', { 'if-match': header }, current), strongMatch ? 'proceed' : 412);
      },
    ),
    { numRuns: 500 },
  );
});

test('never throws for random headers, and never returns 304 for a write', (t) => {
  const garbage = fc.option(fc.oneof(fc.string(), fc.constantFrom('*', '"a"', SAME_TIME, EARLIER, LATER)), {
    nil: undefined,
  });
  const request = fc.record({
    'if-match': garbage,
    'if-unmodified-since': garbage,
    'if-none-match': garbage,
    'if-modified-since': garbage,
  });
  fc.assert(
    fc.property(
      request,
      fc.constantFrom(...METHODS),
      fc.constantFrom(STRONG, WEAK, BARE, undefined),
      (...[headers, method, current]) => {
        const outcome = evaluatePreconditions(method, headers, current);
        t.true(
          outcome === 'proceed' || outcome === 412 || (outcome === 304 && (method === 'GET' || method === 'HEAD')),
        );
      },
    ),
  );
});

test('parses a malicious list in linear time', (t) => {
  // 64 times the maximum size of a header. In quadratic time, each would take minutes.
  const length = 2 ** 20;
  for (const list of ['"', ' ', ',', '""', 'W/', 'W/"', '"",'].map((piece) => `"b"${piece.repeat(length)}x`)) {
    t.is(evaluatePreconditions('GET', { 'if-none-match': list }, STRONG), 'proceed');
  }
});
