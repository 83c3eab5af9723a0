import test from 'ava';
import fc from 'fast-check';
import type { ArtifactMetadata } from '../../src/contract/artifact.js';
import { contentHeaders, notModifiedHeaders, type Representation } from '../../src/http/headers.js';
import { httpDate } from '../../src/http/http-date.js';

const CHANGED = httpDate(Date.UTC(2024, 4, 6, 7, 8, 9));
const UNKNOWN: Representation = { size: undefined, etag: undefined, lastModified: undefined, metadata: {} };
const LEAST_HEADERS = {
  'content-type': 'application/octet-stream',
  'cache-control': 'no-transform',
  'x-content-type-options': 'nosniff',
};

const representing = (metadata: ArtifactMetadata): Representation => ({
  size: 100,
  etag: '"a"',
  lastModified: CHANGED,
  metadata,
});

test('what is known is said', (t) => {
  t.deepEqual(contentHeaders(representing({}), 100), {
    ...LEAST_HEADERS,
    'content-length': 100,
    'accept-ranges': 'bytes',
    etag: '"a"',
    'last-modified': 'Mon, 06 May 2024 07:08:09 GMT',
  });
});

test('what is not known is not said', (t) => {
  t.deepEqual(contentHeaders(UNKNOWN, undefined), LEAST_HEADERS);
  t.deepEqual(notModifiedHeaders(UNKNOWN), { 'cache-control': 'no-transform' });
});

test('304 carries what refreshes a cache and nothing about a body', (t) => {
  const representation = representing({
    contentType: 'text/plain',
    contentEncoding: 'gzip',
    cacheControl: 'max-age=60',
    headers: {
      Vary: 'accept',
      Expires: CHANGED.text,
      'Content-Location': '/a',
      'Content-Language': 'en',
      'X-Artifact-Tag': 'tag',
    },
  });
  t.deepEqual(notModifiedHeaders(representation), {
    etag: '"a"',
    'last-modified': CHANGED.text,
    'cache-control': 'max-age=60, no-transform',
    vary: 'accept',
    expires: CHANGED.text,
    'content-location': '/a',
  });
});

for (const [given, sent] of [
  ['', 'no-transform'],
  ['no-transform', 'no-transform'],
  ['public, max-age=60', 'public, max-age=60, no-transform'],
  ['public, no-transform', 'public, no-transform'],
  ['no-transform,public', 'no-transform,public'],
  ['x-no-transform', 'x-no-transform, no-transform'],
  ['no-transform-x', 'no-transform-x, no-transform'],
  ['x-no-transform, no-transform', 'x-no-transform, no-transform'],
] as const) {
  test(`Cache-Control ${JSON.stringify(given)} goes out as ${JSON.stringify(sent)}`, (t) => {
    for (const metadata of [{ cacheControl: given }, { headers: { 'Cache-Control': given } }]) {
      t.is(contentHeaders(representing(metadata), 100)['cache-control'], sent);
      t.is(notModifiedHeaders(representing(metadata))['cache-control'], sent);
    }
  });
}

test('the artifact says what it is, and may say it in its further headers', (t) => {
  const said = { 'content-type': 'text/plain', 'content-encoding': 'gzip', 'x-artifact-tag': 'Tag' };
  const fields = { contentType: 'text/plain', contentEncoding: 'gzip', headers: { 'X-Artifact-Tag': 'Tag' } };
  const further = { 'Content-Type': 'text/plain', 'CONTENT-ENCODING': 'gzip', 'X-Artifact-Tag': 'Tag' };
  t.like(contentHeaders(representing(fields), 100), said);
  t.deepEqual(contentHeaders(representing({ headers: further }), 100), contentHeaders(representing(fields), 100));
});

test("the representation's validators count, not the artifact's own", (t) => {
  const metadata = { etag: '"other"', lastModified: new Date(0) };
  t.deepEqual(contentHeaders(representing(metadata), 100), contentHeaders(representing({}), 100));
  t.deepEqual(contentHeaders({ ...UNKNOWN, metadata }, undefined), LEAST_HEADERS);
});

for (const name of [
  'Content-Length',
  'Content-Range',
  'Accept-Ranges',
  'Transfer-Encoding',
  'Connection',
  'Keep-Alive',
  'Proxy-Authenticate',
  'Proxy-Authorization',
  'Proxy-Connection',
  'HTTP2-Settings',
  'TE',
  'Trailer',
  'Upgrade',
  'ETag',
  'Last-Modified',
  ':status',
]) {
  test(`a further header cannot set ${name}`, (t) => {
    const metadata = { headers: { [name]: '7', 'x-other': '1' } };
    const replaced = contentHeaders(representing(metadata), 100);
    t.deepEqual(replaced, { ...contentHeaders(representing({}), 100), 'x-other': '1' });
    t.deepEqual(contentHeaders({ ...UNKNOWN, metadata }, undefined), { ...LEAST_HEADERS, 'x-other': '1' });
    t.deepEqual(notModifiedHeaders({ ...UNKNOWN, metadata }), { 'cache-control': 'no-transform' });
  });
}

test('names are lower-case and every header has a value, whatever the artifact says', (t) => {
  const text = fc.option(fc.string(), { nil: undefined });
  const metadata = fc.record({
    contentType: text,
    contentEncoding: text,
    cacheControl: text,
    headers: fc.option(fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('Vary', 'TE', 'Expires')), fc.string()), {
      nil: undefined,
    }),
  });
  fc.assert(
    fc.property(metadata, fc.option(fc.maxSafeNat(), { nil: undefined }), (said, length) => {
      const content = contentHeaders(representing(said), length);
      const notModified = notModifiedHeaders(representing(said));
      t.is(content['content-length'], length);
      for (const [name, value] of [...Object.entries(content), ...Object.entries(notModified)]) {
        t.is(name, name.toLowerCase());
        t.not(value, undefined);
      }
      for (const [name, value] of Object.entries(notModified)) t.is(content[name], value);
    }),
  );
});
