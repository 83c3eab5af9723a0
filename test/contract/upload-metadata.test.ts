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

test('what is encoded can be decoded', (t) => {
  fc.assert(
    fc.property(metadata, (said) => {
      const bytes = encodeMetadata(said);
      const isNothing = Object.keys(said).length === 0;
      t.deepEqual(bytes && decodeMetadata(bytes), isNothing ? undefined : said);
    }),
  );
});

test('what is said of every artifact takes no room, and names of headers are in lower case', (t) => {
  for (const nothing of [
    undefined,
    {},
    { contentType: undefined, headers: {} },
    { contentType: 'application/octet-stream', contentEncoding: '', cacheControl: 'no-transform' },
  ]) {
    t.is(encodeMetadata(nothing), undefined);
  }
  t.deepEqual(normalizeMetadata({ contentType: '', headers: { 'X-Tag': 'Abc', empty: '' } }), {
    headers: { 'x-tag': 'Abc', empty: '' },
  });
});

test('a copy is kept: what the caller does with its object afterwards changes nothing', (t) => {
  const headers: Record<string, string> = { tag: 'a' };
  const kept = normalizeMetadata({ headers });
  headers['tag'] = 'b';
  t.deepEqual(kept, { headers: { tag: 'a' } });
});

test('4,096 bytes are kept, one more is refused', (t) => {
  const frame = encodeMetadata({ headers: { tag: '' } })?.byteLength ?? 0;
  const fits = 'x'.repeat(MAX_METADATA_BYTES - frame);
  t.is(encodeMetadata({ headers: { tag: fits } })?.byteLength, 4096);
  const tooLarge = refusal('ERR_HOTBLOB_METADATA_TOO_LARGE', /at most 4096 bytes, received 4097/);
  const { status } = t.throws(() => encodeMetadata({ headers: { tag: `${fits}x` } }), tooLarge) as Error & {
    status: number;
  };
  t.is(status, 431);
  // A character may take more than one byte.
  t.throws(
    () => encodeMetadata({ headers: { tag: '\u00e9'.repeat(2100) } }),
    refusal('ERR_HOTBLOB_METADATA_TOO_LARGE'),
  );
});

test('what cannot be sent as a header is refused', (t) => {
  const wrong: readonly UploadMetadata[] = [
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
  for (const each of wrong) {
    t.throws(
      () => encodeMetadata(each),
      refusal('ERR_HOTBLOB_BAD_REQUEST', /is not a valid header/),
      JSON.stringify(each),
    );
  }
});

test('what is no metadata is told from it', (t) => {
  for (const text of ['', '{', 'null', '[]', '7', '"t"', '{"t":7}', '{"h":[]}', '{"h":{"a":1}}', '{"h":null}']) {
    t.is(decodeMetadata(Buffer.from(text)), undefined, text);
  }
  t.deepEqual(decodeMetadata(Buffer.from('{"c":"a","later":1}')), { cacheControl: 'a' }, 'of a later version');
});
