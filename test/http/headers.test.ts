import test from 'ava';
import fc from 'fast-check';
import type { ArtifactMetadata } from '../../src/contract/artifact.js';
import { contentHeaders, notModifiedHeaders, type Representation } from '../../src/http/headers.js';
import { httpDate } from '../../src/http/http-date.js';
import { DOWNLOAD, ISOLATION } from '../helpers/artifact-headers.js';

const CHANGED = httpDate(Date.UTC(2024, 4, 6, 7, 8, 9));
const UNKNOWN: Representation = { size: undefined, etag: undefined, lastModified: undefined, metadata: {} };
const MINIMAL_HEADERS = {
  'content-type': 'application/octet-stream',
  'cache-control': 'no-cache, no-transform',
  ...DOWNLOAD,
};

const representing = (metadata: ArtifactMetadata): Representation => ({
  size: 100,
  etag: '"a"',
  lastModified: CHANGED,
  metadata,
});

test('sends the length and the validators of a representation', (t) => {
  t.deepEqual(contentHeaders(representing({}), 100), {
    ...MINIMAL_HEADERS,
    'content-length': 100,
    'accept-ranges': 'bytes',
    etag: '"a"',
    'last-modified': 'Mon, 06 May 2024 07:08:09 GMT',
  });
});

test('omits the headers of unknown values', (t) => {
  t.deepEqual(contentHeaders(UNKNOWN, undefined), MINIMAL_HEADERS);
  t.deepEqual(notModifiedHeaders(UNKNOWN), { ...ISOLATION, 'cache-control': 'no-cache, no-transform' });
});

test('304 has the headers that update a stored response, and none about a body', (t) => {
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
    ...ISOLATION,
    etag: '"a"',
    'last-modified': CHANGED.text,
    'cache-control': 'max-age=60, no-transform',
    vary: 'accept',
    expires: CHANGED.text,
    'content-location': '/a',
  });
});

for (const [given, sent] of [
  ['', 'no-cache, no-transform'],
  ['no-transform', 'no-transform'],
  ['public, max-age=60', 'public, max-age=60, no-transform'],
  ['public, no-transform', 'public, no-transform'],
  ['no-transform,public', 'no-transform,public'],
  ['x-no-transform', 'x-no-transform, no-transform'],
  ['no-transform-x', 'no-transform-x, no-transform'],
  ['x-no-transform, no-transform', 'x-no-transform, no-transform'],
] as const) {
  test(`sends Cache-Control ${JSON.stringify(given)} as ${JSON.stringify(sent)}`, (t) => {
    for (const metadata of [{ cacheControl: given }, { headers: { 'Cache-Control': given } }]) {
      t.is(contentHeaders(representing(metadata), 100)['cache-control'], sent);
      t.is(notModifiedHeaders(representing(metadata))['cache-control'], sent);
    }
  });
}

test('takes type and encoding from the metadata fields or from its headers', (t) => {
  const expected = { 'content-type': 'text/plain', 'content-encoding': 'gzip', 'x-artifact-tag': 'Tag' };
  const fields = { contentType: 'text/plain', contentEncoding: 'gzip', headers: { 'X-Artifact-Tag': 'Tag' } };
  const headers = { 'Content-Type': 'text/plain', 'CONTENT-ENCODING': 'gzip', 'X-Artifact-Tag': 'Tag' };
  t.like(contentHeaders(representing(fields), 100), expected);
  t.deepEqual(contentHeaders(representing({ headers }), 100), contentHeaders(representing(fields), 100));
});

test('uses the validators of the representation instead of those of the metadata', (t) => {
  const metadata = { etag: '"other"', lastModified: new Date(0) };
  t.deepEqual(contentHeaders(representing(metadata), 100), contentHeaders(representing({}), 100));
  t.deepEqual(contentHeaders({ ...UNKNOWN, metadata }, undefined), MINIMAL_HEADERS);
});

test('sends types that a browser would run or guess as application/octet-stream, unless the artifact is trusted', (t) => {
  const active = ['text/html', 'TEXT/HTML; charset=utf-8', 'application/xhtml+xml', 'image/svg+xml', 'text/xml'];
  active.push('application/atom+xml', 'text/xsl', 'text/javascript', 'application/x-ecmascript', 'application/pdf');
  active.push('multipart/x-mixed-replace; boundary=a', 'message/rfc822', 'unknown/unknown', '*/*', '', 'html', 'text/');
  active.push(
    'text/plain, text/html',
    'text/plain;a, image/svg+xml',
    'text/plain text/html',
    ' text/plain',
    'text/pl\u00e9',
  );
  const inert = ['text/plain', 'text/plain; charset=utf-8', 'application/json', 'image/png', 'application/gzip'];
  inert.push(
    'application/vnd.gradle.build-cache-artifact.v2',
    'application/vnd.a+json;v="1"',
    'application/x-tar ; q=1',
  );
  for (const type of [...active, ...inert, ...active]) {
    const sent = active.includes(type) ? 'application/octet-stream' : type;
    for (const metadata of [{ contentType: type }, { headers: { 'Content-Type': type } }]) {
      t.is(contentHeaders(representing(metadata), 100)['content-type'], sent, type);
      t.is(contentHeaders(representing(metadata), 100, true)['content-type'], type);
    }
  }
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
  test(`metadata headers cannot set ${name}`, (t) => {
    const metadata = { headers: { [name]: '7', 'x-other': '1' } };
    const replaced = contentHeaders(representing(metadata), 100);
    t.deepEqual(replaced, { ...contentHeaders(representing({}), 100), 'x-other': '1' });
    t.deepEqual(contentHeaders({ ...UNKNOWN, metadata }, undefined), { ...MINIMAL_HEADERS, 'x-other': '1' });
    t.deepEqual(notModifiedHeaders({ ...UNKNOWN, metadata }), {
      ...ISOLATION,
      'cache-control': 'no-cache, no-transform',
    });
  });
}

test('names are in lower case and every header has a value, for any metadata', (t) => {
  const text = fc.option(fc.string(), { nil: undefined });
  const anyMetadata = fc.record({
    contentType: text,
    contentEncoding: text,
    cacheControl: text,
    headers: fc.option(fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('Vary', 'TE', 'Expires')), fc.string()), {
      nil: undefined,
    }),
  });
  fc.assert(
    fc.property(anyMetadata, fc.option(fc.maxSafeNat(), { nil: undefined }), (metadata, length) => {
      const content = contentHeaders(representing(metadata), length);
      const notModified = notModifiedHeaders(representing(metadata));
      t.is(content['content-length'], length);
      for (const [name, value] of [...Object.entries(content), ...Object.entries(notModified)]) {
        t.is(name, name.toLowerCase());
        t.not(value, undefined);
      }
      for (const [name, value] of Object.entries(notModified)) t.is(content[name], value);
    }),
  );
});
