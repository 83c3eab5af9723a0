import test from 'ava';
import fc from 'fast-check';
import type { UploadMetadata } from '../../src/contract/artifact.js';
import {
  decodeMetadata,
  encodeMetadata,
  MAX_METADATA_BYTES,
  normalizeMetadata,
} from '../../src/contract/upload-metadata.js';
import { refusal } from '../stores/fixture.js';

const visible = fc.integer({ min: 0x21, max: 0xff }).filter((code) => code < 0x7f || code >= 0x80);
const value = fc.array(visible, { minLength: 1, maxLength: 30 }).map((codes) => String.fromCharCode(...codes));
const spaced = fc.array(value, { minLength: 1, maxLength: 3 }).map((parts) => parts.join(' \t '));
const name = fc.oneof(
  fc.constantFrom('x-artifact-tag', '__proto__', 'constructor', 't', 'h'),
  fc.stringMatching(/^[!#$%&'*+\-.^_`|~0-9a-z]{1,20}$/),
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
  ]) {
    t.is(encodeMetadata(defaults), undefined);
  }
  t.deepEqual(normalizeMetadata({ contentType: '', headers: { 'X-Tag': 'Abc', empty: '' } }), {
    headers: { 'x-tag': 'Abc', empty: '' },
  });
});

test('normalizeMetadata() copies the headers, so that later changes by the caller have no effect', (t) => {
  const headers: Record<string, string> = { tag: 'a' };
  const normalized = normalizeMetadata({ headers });
  headers['tag'] = 'b';
  t.deepEqual(normalized, { headers: { tag: 'a' } });
});

test('accepts 4,096 bytes of metadata and rejects 4,097', (t) => {
  const frame = encodeMetadata({ headers: { tag: '' } })?.byteLength ?? 0;
  const fits = 'x'.repeat(MAX_METADATA_BYTES - frame);
  t.is(encodeMetadata({ headers: { tag: fits } })?.byteLength, 4096);
  const tooLarge = refusal('ERR_HOTBLOB_METADATA_TOO_LARGE', /at most 4096 bytes, received 4097/);
  const { status } = t.throws(() => encodeMetadata({ headers: { tag: `${fits}x` } }), tooLarge) as Error & {
    status: number;
  };
  t.is(status, 431);
  // The limit is in bytes: each of these characters takes two.
  t.throws(
    () => encodeMetadata({ headers: { tag: '\u00e9'.repeat(2100) } }),
    refusal('ERR_HOTBLOB_METADATA_TOO_LARGE'),
  );
});

test('rejects metadata that is not valid as a header', (t) => {
  const invalid: readonly UploadMetadata[] = [
    { contentType: 'text/plain\r\nset-cookie: a=b' },
    { cacheControl: ' max-age=1' },
    { headers: { tag: 'a ' } },
    { headers: { tag: '\u0000' } },
    { headers: { tag: '\u20ac' } },
    { headers: { 'ta g': 'a' } },
    { headers: { ':status': '200' } },
    { headers: { '': 'a' } },
    { headers: { tag: 7 as unknown as string } },
    { contentEncoding: 7 as unknown as string },
  ];
  for (const each of invalid) {
    t.throws(
      () => encodeMetadata(each),
      refusal('ERR_HOTBLOB_BAD_REQUEST', /is not a valid header/),
      JSON.stringify(each),
    );
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
