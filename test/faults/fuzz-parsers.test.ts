// Compares the parsers of headers and paths with other implementations: packages, V8, or a second one in this folder.
import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import fresh from 'fresh';
import rangeParser from 'range-parser';
import { createProtocols } from '../../src/cli/serve/protocol-names.js';
import { HotblobError } from '../../src/contract/errors.js';
import { httpDate, parseHttpDate } from '../../src/http/http-date.js';
import { evaluatePreconditions } from '../../src/http/preconditions.js';
import { parseRange } from '../../src/http/range.js';
import { MountedProtocols } from '../../src/protocols/mounted.js';
import { runsOf } from './fuzz/runs.js';
import { type Routed, routeAgain } from './fuzz/second-routes.js';

/** Checks a property, and counts the values for which both implementations should agree. */
function compare<T>(arbitrary: fc.Arbitrary<T>, isSame: (value: T) => boolean): { runs: number; compared: number } {
  const { runs } = runsOf(1);
  let compared = 0;
  fc.assert(
    fc.property(arbitrary, (value) => {
      if (isSame(value)) compared++;
    }),
    { numRuns: runs, includeErrorInReport: true },
  );
  return { runs, compared };
}

const number = fc.oneof(
  { weight: 5, arbitrary: fc.nat(12).map(String) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', '0', '007', '9007199254740991', '9'.repeat(30), 'x', '1e1', '-1', '0x1', '1.5'),
  },
);
// Mostly valid ranges, so that there are values to compare.
const spec = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.nat(12), fc.nat(12)).map(([first, more]) => `${first}-${first + more}`) },
  { weight: 3, arbitrary: fc.tuple(number, fc.constantFrom('-', '', '--'), number).map((parts) => parts.join('')) },
);
const rangeHeader = fc.oneof(
  { weight: 6, arbitrary: spec.map((each) => `bytes=${each}`) },
  { weight: 1, arbitrary: fc.tuple(spec, spec).map(([one, other]) => `bytes=${one},${other}`) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('items=', 'bytes', '=', ''), spec).map((parts) => parts.join('')) },
);

test('parses ranges like range-parser, where that follows RFC 9110', (t) => {
  const { runs, compared } = compare(fc.tuple(rangeHeader, fc.nat(20)), ([header, size]) => {
    const found = parseRange(header, size);
    const theirs = rangeParser(size, header);
    const isOne = Array.isArray(theirs) && theirs.type === 'bytes' && theirs.length === 1;
    const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(header) ?? [];
    // range-parser differs from RFC 9110, 14.1.1 and 14.1.2: it treats a reversed range (invalid) and a suffix longer than the
    // content (all of it) as unsatisfiable. It also accepts several ranges and any unit. An empty artifact is sent as a whole.
    if (size === 0) return false;
    if (first !== '' && last !== '' && BigInt(last) < BigInt(first)) return false;
    if (first === '' && last !== '' && BigInt(last) > BigInt(size)) return false;
    if (header.includes(',') || !header.startsWith('bytes=')) return false;
    if (theirs === -2) assert.equal(found, undefined);
    else if (theirs === -1) assert.equal(found, 'unsatisfiable');
    else {
      assert.ok(isOne);
      assert.deepEqual(found, { start: theirs[0]?.start, end: (theirs[0]?.end ?? Number.NaN) + 1 });
    }
    return true;
  });
  t.true(compared > runs / 3, `${compared} of ${runs} compared`);
});

const opaque = fc.string({ unit: fc.constantFrom('a', 'b', 'W', '/', '*', '\\', '\u00e9'), maxLength: 2 });
const tag = fc.tuple(fc.constantFrom('', 'W/'), opaque).map(([weak, text]) => `${weak}"${text}"`);
const tags = fc.oneof(
  { weight: 4, arbitrary: fc.array(tag, { minLength: 1, maxLength: 3 }).map((each) => each.join(', ')) },
  { weight: 1, arbitrary: fc.constantFrom('*', 'a', '"a', 'W/', 'w/"a"') },
);
const SECOND = 1000;
const date = fc.integer({ min: -2, max: 2 }).map((seconds) => httpDate(Date.UTC(2024, 1, 29) + seconds * SECOND).text);
const option = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });
const revalidation = fc.record({
  etag: option(tag),
  lastModified: option(date),
  ifNoneMatch: option(tags),
  ifModifiedSince: option(fc.oneof(date, fc.constantFrom('yesterday', '0000'))),
});

test('evaluates conditions of a download like fresh', (t) => {
  const { runs, compared } = compare(revalidation, ({ etag, lastModified, ifNoneMatch, ifModifiedSince }) => {
    // fresh accepts every date that V8 accepts.
    if (ifModifiedSince === '0000') return false;
    const request = {
      ...(ifNoneMatch !== undefined && { 'if-none-match': ifNoneMatch }),
      ...(ifModifiedSince !== undefined && { 'if-modified-since': ifModifiedSince }),
    };
    const seconds = lastModified === undefined ? undefined : parseHttpDate(lastModified);
    const current = { etag, lastModified: seconds === undefined ? undefined : httpDate(seconds * SECOND) };
    const isFresh = fresh(request, { etag, 'last-modified': lastModified });
    for (const method of ['GET', 'HEAD'] as const) {
      assert.equal(evaluatePreconditions(method, request, current), isFresh ? 304 : 'proceed');
    }
    return true;
  });
  t.true(compared > runs / 2, `${compared} of ${runs} compared`);
});

const anyDate = fc.date({ min: new Date(0), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true });

test('parses dates in each of the three formats like V8', (t) => {
  const inFormats = fc.tuple(anyDate, fc.constantFrom('imf', 'rfc850', 'asctime'));
  const { runs, compared } = compare(inFormats, ([moment, format]) => {
    const text = moment.toUTCString();
    const [, weekday = '', day = '', month = '', year = '', time = ''] =
      /^(\w+), (\d+) (\w+) (\d+) ([\d:]+) GMT$/.exec(text) ?? [];
    const seconds = Math.floor(moment.getTime() / SECOND);
    if (format === 'imf') assert.equal(parseHttpDate(text), seconds);
    if (format === 'asctime') {
      assert.equal(parseHttpDate(`${weekday} ${month} ${day.replace(/^0/, ' ')} ${time} ${year}`), seconds);
    }
    if (format === 'rfc850') {
      const full = new Intl.DateTimeFormat('en', { weekday: 'long', timeZone: 'UTC' }).format(moment);
      const found = parseHttpDate(`${full}, ${day}-${month}-${year.slice(-2)} ${time} GMT`);
      // A two-digit year is at most 50 years in the future.
      const ahead = new Date();
      ahead.setUTCFullYear(ahead.getUTCFullYear() + 50);
      assert.ok(found === undefined || found <= ahead.getTime() / SECOND + 1);
      if (found !== undefined) assert.equal(new Date(found * SECOND).getUTCFullYear() % 100, Number(year) % 100);
    }
    return true;
  });
  t.is(compared, runs);
});

const mounted = new MountedProtocols(
  createProtocols(['turborepo', 'nx', 'metro', 'gradle', 'bazel', 'ccache', 'sccache', 'rush', 'plain'], {
    dir: '/nowhere',
  }),
);

function routed(method: string, path: string, query: string): Routed {
  const recognition = mounted.recognise({ method, path, query: new URLSearchParams(query), headers: {} });
  if (recognition === undefined) throw new Error('plain() recognises every path');
  if (recognition.operation === undefined) {
    const { error } = recognition;
    if (error instanceof HotblobError && (error.status === 400 || error.status === 414)) return error.status;
    throw error;
  }
  const { operation, key = '' } = recognition;
  if (operation.kind === 'unsupported') return 'unsupported';
  if (operation.kind === 'answer') return 'answered';
  return { key, operation: operation.kind };
}

const hex = fc.constantFrom(2, 31, 32, 33, 38, 40, 64, 96, 128, 129).map((length) => '0a'.repeat(65).slice(0, length));
const segment = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('v1', 'cache', 'v8', 'artifacts', 'bazel', 'ac', 'cas', 'ccache', 'gradle') },
  {
    weight: 2,
    arbitrary: fc.constantFrom('metro', 'sccache', 'nx', 'turborepo', 'Nx', 'status', 'events', 'bazel%2Fac'),
  },
  { weight: 4, arbitrary: hex },
  { weight: 1, arbitrary: hex.map((digits) => digits.toUpperCase()) },
  { weight: 1, arbitrary: hex.map((digits) => digits.replaceAll('a', 'v')) },
  {
    weight: 2,
    arbitrary: fc.constantFrom('', '.', '..', '...', '%2e', '%2E%2e', '%2f', '%5C', '\\', '%00', '%', '%4', '%zz'),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom('%C3%A9', '%C3', '%FF', '%F0%9F%98%80', '%ED%A0%80', '%C0%AF', '%EF%BB%BF', '\u00e9'),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 4 }).map((text) => text.replaceAll(/[?#/]/g, '_')) },
  { weight: 1, arbitrary: fc.constantFrom('k'.repeat(1024), '%61'.repeat(500), '%C3%A9'.repeat(513)) },
);
const STARTS = [
  '/',
  '//',
  '/v8/artifacts/',
  '/v1/cache/',
  '/metro/',
  '/gradle/',
  '/bazel/',
  '/bazel/ac/',
  '/ccache/',
  '/ccache/0a/',
  '/sccache/',
  '/rush/',
  '/bazel//',
];
const request = fc.record({
  method: fc.constantFrom('GET', 'HEAD', 'PUT', 'PUT', 'DELETE', 'POST', 'OPTIONS', 'PROPFIND', 'MKCOL'),
  path: fc.oneof(
    fc
      .tuple(fc.constantFrom(...STARTS), fc.array(segment, { maxLength: 3 }))
      .map(([start, segments]) => start + segments.join('/')),
    // Valid key of most build tools.
    fc.tuple(fc.constantFrom(...STARTS), hex).map((parts) => parts.join('')),
  ),
  query: fc.constantFrom(
    '',
    '',
    'teamId=a',
    'slug=a',
    'teamId=&slug=b%2Fc',
    'teamId=%FF',
    'slug=..',
    'teamId=%C3%A9+x',
  ),
});

test('routes each path to the artifact that it names, or refuses it', (t) => {
  const seen = new Set<string>();
  const { runs, compared } = compare(request, ({ method, path, query }) => {
    const found = routed(method, path, query);
    assert.deepEqual(found, routeAgain(method, path, query));
    seen.add(typeof found === 'object' ? (found.key.split('/')[0] ?? '') : String(found));
    return true;
  });
  t.is(compared, runs);
  if (runs < 5000) return;
  for (const each of ['nx', 'turborepo', 'sccache', 'rush', '400', '414', 'unsupported', 'answered'])
    t.true(seen.has(each), each);
});
