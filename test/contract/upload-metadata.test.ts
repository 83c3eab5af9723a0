import test from 'ava';
import fc from 'fast-check';
import type { UploadMetadata } from '../../src/contract/artifact.js';
import {
  decodeMetadata,
  encodeMetadata,
  MAX_METADATA_BYTES,
  normalizeMetadata,
  uploadMetadataOf,
} from '../../src/contract/upload-metadata.js';
import { uploadMetadata } from '../../src/protocols/request-metadata.js';
import { refusal } from '../stores/fixture.js';

const visible = fc.integer({ min: 0x21, max: 0xff }).filter((code) => code < 0x7f || code >= 0x80);
const value = fc.array(visible, { minLength: 1, maxLength: 30 }).map((codes) => String.fromCharCode(...codes));
const spaced = fc.array(value, { minLength: 1, maxLength: 3 }).map((parts) => parts.join(' \t '));
const name = fc.oneof(
  fc.constantFrom('x-artifact-tag', 'tuist-checksum-sha256'),
  fc.stringMatching(/^x-artifact-[a-z0-9-]{1,20}$/),
);
const metadata: fc.Arbitrary<UploadMetadata> = fc.record(
  {
    contentType: spaced,
    contentEncoding: fc.constantFrom('gzip', 'zstd'),
    cacheControl: fc.constantFrom('max-age=1', 'no-store'),
    headers: fc.array(fc.tuple(name, spaced), { minLength: 1, maxLength: 5 }).map((pairs) => Object.fromEntries(pairs)),
  },
  { requiredKeys: [] },
);

test('decodeMetadata() restores what encodeMetadata() encoded', (t) => {
  fc.assert(
    fc.property(metadata, (original) => {
      const bytes = encodeMetadata(original);
      const isEmpty = Object.keys(original).length === 0;
      t.deepEqual(bytes && decodeMetadata(bytes), isEmpty ? undefined : original);
    }),
  );
});

test('default values are not encoded, and header names are normalized to lower case', (t) => {
  for (const defaults of [
    undefined,
    {},
    { contentType: undefined, headers: {} },
    { contentType: 'application/octet-stream', contentEncoding: '', cacheControl: 'no-transform' },
    { cacheControl: 'no-cache, no-transform' },
  ]) {
    t.is(encodeMetadata(defaults), undefined);
  }
  t.deepEqual(normalizeMetadata({ contentType: '', headers: { 'X-Artifact-Tag': 'Abc', 'x-artifact-sha': '' } }), {
    headers: { 'x-artifact-tag': 'Abc', 'x-artifact-sha': '' },
  });
});

test('normalizeMetadata() copies the headers, so that later changes by the caller have no effect', (t) => {
  const headers: Record<string, string> = { 'x-artifact-tag': 'a' };
  const normalized = normalizeMetadata({ headers });
  headers['x-artifact-tag'] = 'b';
  t.deepEqual(normalized, { headers: { 'x-artifact-tag': 'a' } });
});

test('accepts 4,096 bytes of metadata and rejects 4,097', (t) => {
  const frame = encodeMetadata({ headers: { 'x-artifact-tag': '' } })?.byteLength ?? 0;
  const fits = 'x'.repeat(MAX_METADATA_BYTES - frame);
  t.is(encodeMetadata({ headers: { 'x-artifact-tag': fits } })?.byteLength, 4096);
  const tooLarge = refusal('ERR_HOTBLOB_METADATA_TOO_LARGE', /at most 4096 bytes, received 4097/);
  const { status } = t.throws(
    () => encodeMetadata({ headers: { 'x-artifact-tag': `${fits}x` } }),
    tooLarge,
  ) as Error & {
    status: number;
  };
  t.is(status, 431);
  // The limit is in bytes: each of these characters takes two.
  t.throws(
    () => encodeMetadata({ headers: { 'x-artifact-tag': '\u00e9'.repeat(2100) } }),
    refusal('ERR_HOTBLOB_METADATA_TOO_LARGE'),
  );
});

test('rejects metadata that is not valid as a header', (t) => {
  const invalid: readonly UploadMetadata[] = [
    { contentType: 'text/plain\r\nset-cookie: a=b' },
    { cacheControl: ' max-age=1' },
    { headers: { 'x-artifact-tag': 'a ' } },
    { headers: { 'x-artifact-tag': '\u0000' } },
    { headers: { 'x-artifact-tag': '\u20ac' } },
    { headers: { 'x-artifact-tag': 7 as unknown as string } },
    { contentEncoding: 7 as unknown as string },
  ];
  for (const each of invalid) {
    t.throws(
      () => encodeMetadata(each),
      refusal('ERR_HOTBLOB_BAD_REQUEST', /is not valid in a header/),
      JSON.stringify(each),
    );
  }
});

/** Headers that a proxy, a browser or a client obeys, and names of object properties. */
const REFUSED = [
  ...[
    'x-accel-redirect',
    'x-accel-buffering',
    'x-sendfile',
    'x-lighttpd-send-file',
    'x-reproxy-url',
    'refresh',
    'link',
  ],
  ...[
    'service-worker-allowed',
    'set-cookie',
    'content-disposition',
    'content-security-policy',
    'location',
    'sourcemap',
  ],
  ...['access-control-allow-origin', 'clear-site-data', 'alt-svc', 'etag', 'content-length', 'connection', 'vary'],
  ...[
    'x-amz-meta-a',
    'x-built-by',
    ':status',
    '',
    'x artifact',
    '__proto__',
    'constructor',
    'x-artifact-',
    'x-artifact-a\n',
  ],
];

test('refuses headers that are not those of artifacts', (t) => {
  for (const name of REFUSED) {
    const headers = Object.fromEntries([[name, 'a']]);
    t.throws(() => encodeMetadata({ headers }), refusal('ERR_HOTBLOB_INVALID_OPTION', /^metadata\.headers: /), name);
    t.throws(() => uploadMetadata({}, [name]), refusal('ERR_HOTBLOB_INVALID_OPTION', /^names: /), name);
    t.deepEqual(uploadMetadataOf({ headers }).headers, {}, name);
    t.deepEqual(decodeMetadata(Buffer.from(JSON.stringify({ h: headers }))), {}, name);
  }
});

test('decodeMetadata() returns undefined for values that are not valid in a header', (t) => {
  for (const value of ['a\r\nset-cookie: b', '\0', ' a', '\u20ac']) {
    t.is(decodeMetadata(Buffer.from(JSON.stringify({ t: value }))), undefined);
    t.is(decodeMetadata(Buffer.from(JSON.stringify({ h: { 'x-artifact-tag': value } }))), undefined);
  }
});

test('decodeMetadata() returns undefined for bytes that are not metadata', (t) => {
  for (const text of ['', '{', 'null', '[]', '7', '"t"', '{"t":7}', '{"h":[]}', '{"h":{"a":1}}', '{"h":null}']) {
    t.is(decodeMetadata(Buffer.from(text)), undefined, text);
  }
  t.deepEqual(
    decodeMetadata(Buffer.from('{"c":"a","later":1}')),
    { cacheControl: 'a' },
    'unknown fields of a later version are ignored',
  );
});
