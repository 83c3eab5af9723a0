import type { IncomingHttpHeaders } from 'node:http';
import test from 'ava';
import fc from 'fast-check';
import { httpDate } from '../../src/http/http-date.js';
import { plan, type Representation } from '../../src/http/plan.js';
import { DOWNLOAD } from '../helpers/artifact-headers.js';

const CHANGED = httpDate(Date.UTC(2024, 4, 6, 7, 8, 9));
const PLAIN: Representation = { size: 100, etag: '"a"', lastModified: CHANGED, metadata: {} };
const STREAM: Representation = { ...PLAIN, size: undefined };
const PLAIN_HEADERS = {
  'content-type': 'application/octet-stream',
  'cache-control': 'no-cache, no-transform',
  ...DOWNLOAD,
  'content-length': 100,
  'accept-ranges': 'bytes',
  etag: '"a"',
  'last-modified': 'Mon, 06 May 2024 07:08:09 GMT',
};

test('a GET sends the whole representation', (t) => {
  t.deepEqual(plan('GET', {}, PLAIN), {
    kind: 'send',
    status: 200,
    headers: PLAIN_HEADERS,
    range: { start: 0, end: 100 },
  });
});

test('a GET of a representation without size and validators sends neither', (t) => {
  const unknown: Representation = { size: undefined, etag: undefined, lastModified: undefined, metadata: {} };
  t.deepEqual(plan('GET', {}, unknown), {
    kind: 'send',
    status: 200,
    headers: {
      'content-type': 'application/octet-stream',
      'cache-control': 'no-cache, no-transform',
      ...DOWNLOAD,
    },
    range: undefined,
  });
});

test('an empty artifact has Content-Length 0', (t) => {
  const response = plan('GET', {}, { ...PLAIN, size: 0 });
  t.like(response, { kind: 'send', status: 200, range: { start: 0, end: 0 } });
  t.is(response.headers['content-length'], 0);
});

test('answers one range with 206', (t) => {
  t.deepEqual(plan('GET', { range: 'bytes=10-19' }, PLAIN), {
    kind: 'send',
    status: 206,
    headers: { ...PLAIN_HEADERS, 'content-length': 10, 'content-range': 'bytes 10-19/100' },
    range: { start: 10, end: 20 },
  });
});

test('answers a range past the end with 416 and the size', (t) => {
  t.deepEqual(plan('GET', { range: 'bytes=100-' }, PLAIN), {
    kind: 'error',
    status: 416,
    headers: { 'content-range': 'bytes */100' },
  });
});

for (const [condition, request, representation] of [
  ['several ranges', { range: 'bytes=0-1,4-5' }, PLAIN],
  ['another unit', { range: 'lines=0-1' }, PLAIN],
  ['an unknown size', { range: 'bytes=0-1' }, STREAM],
  ['an If-Range with another tag', { range: 'bytes=0-1', 'if-range': '"b"' }, PLAIN],
  ['an If-Range with a weak tag', { range: 'bytes=0-1', 'if-range': 'W/"a"' }, { ...PLAIN, etag: 'W/"a"' }],
  ['an If-Range with another tag and an unsatisfiable range', { range: 'bytes=100-', 'if-range': '"b"' }, PLAIN],
  ['an If-Range with the date of a representation with a tag', { range: 'bytes=0-1', 'if-range': CHANGED.text }, PLAIN],
  ['a malformed If-Range', { range: 'bytes=0-1', 'if-range': 'a' }, PLAIN],
  ['an If-Range twice', { range: 'bytes=0-1', 'if-range': ['"a"', '"a"'] }, PLAIN],
  ['an If-Range without Range', { 'if-range': '"a"' }, PLAIN],
] satisfies [string, IncomingHttpHeaders, Representation][]) {
  test(`ignores Range for ${condition}`, (t) => {
    t.deepEqual(plan('GET', request, representation), plan('GET', {}, representation));
  });
}

test('applies Range if If-Range matches', (t) => {
  t.like(plan('GET', { range: 'bytes=0-1', 'if-range': '"a"' }, PLAIN), { status: 206, range: { start: 0, end: 2 } });
  const dated = { ...PLAIN, etag: undefined };
  t.is(plan('GET', { range: 'bytes=0-1', 'if-range': CHANGED.text }, dated).status, 206);
  t.is(plan('GET', { range: 'bytes=100-', 'if-range': '"a"' }, PLAIN).status, 416);
});

test('evaluates preconditions before Range', (t) => {
  t.is(plan('GET', { range: 'bytes=100-', 'if-none-match': '"a"' }, PLAIN).status, 304);
  t.is(plan('GET', { range: 'bytes=0-1', 'if-none-match': '"b"' }, PLAIN).status, 206);
  t.deepEqual(plan('GET', { range: 'bytes=0-1', 'if-match': '"b"' }, PLAIN), {
    kind: 'error',
    status: 412,
    headers: {},
  });
});

const text = fc.option(fc.string(), { nil: undefined });
const anyRepresentation: fc.Arbitrary<Representation> = fc.record({
  size: fc.option(fc.oneof(fc.nat(20), fc.maxSafeNat()), { nil: undefined }),
  etag: fc.constantFrom(undefined, '"a"', 'W/"a"'),
  lastModified: fc.constantFrom(undefined, CHANGED),
  metadata: fc.record({
    contentType: text,
    contentEncoding: text,
    cacheControl: text,
    headers: fc.option(fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('Vary', 'TE')), fc.string()), {
      nil: undefined,
    }),
  }),
});
const anyValue = fc.option(
  fc.oneof(
    fc.string(),
    fc.constantFrom('*', '"a"', '"b"', 'W/"a"', CHANGED.text, 'bytes=0-', 'bytes=-1', 'bytes=30-'),
    fc.tuple(fc.nat(30), fc.nat(30)).map(([first, last]) => `bytes=${first}-${last}`),
  ),
  { nil: undefined },
);
const anyRequest: fc.Arbitrary<IncomingHttpHeaders> = fc.record(
  {
    range: anyValue,
    'if-range': anyValue,
    'if-match': anyValue,
    'if-none-match': anyValue,
    'if-modified-since': anyValue,
    'if-unmodified-since': anyValue,
  },
  { requiredKeys: [] },
);

test('the headers match the body for any request', (t) => {
  fc.assert(
    fc.property(fc.constantFrom('GET', 'HEAD'), anyRequest, anyRepresentation, (method, request, representation) => {
      const response = plan(method, request, representation);
      const { headers } = response;
      const { size } = representation;
      t.true(Object.entries(headers).every(([name, value]) => name === name.toLowerCase() && value !== undefined));
      if (response.kind === 'send') {
        t.is(method, 'GET');
        t.is(response.range === undefined, size === undefined);
        t.is(headers['content-length'], response.range && response.range.end - response.range.start);
        t.is('content-range' in headers, response.status === 206);
        if (response.status === 200 && response.range) t.deepEqual(response.range, { start: 0, end: size ?? -1 });
        if (response.status === 206 && response.range) {
          t.is(headers['content-range'], `bytes ${response.range.start}-${response.range.end - 1}/${size}`);
        }
      } else if (response.kind === 'done' && response.status === 200) {
        t.is(method, 'HEAD');
        t.is(headers['content-length'], size);
      } else {
        t.false('content-length' in headers);
      }
    }),
    { numRuns: 500 },
  );
});

test('HEAD has the status and headers of GET without Range', (t) => {
  fc.assert(
    fc.property(anyRequest, anyRepresentation, (request, representation) => {
      const head = plan('HEAD', request, representation);
      const get = plan('GET', { ...request, range: undefined }, representation);
      t.is(head.status, get.status);
      t.deepEqual(head.headers, get.headers);
      t.not(head.kind, 'send');
    }),
    { numRuns: 500 },
  );
});
