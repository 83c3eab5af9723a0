import { PutObjectCommand } from '@aws-sdk/client-s3';
import test from 'ava';
import fc from 'fast-check';
import { descriptionOf, metadataOf } from '../../../src/stores/s3/metadata.js';
import { BUCKET } from '../../helpers/s3rver.js';
import { content, put, refusal } from '../fixture.js';
import { clientOf, find, PART, serviceFor } from './fixture.js';

const site = serviceFor(test);

const SAID = {
  contentType: 'text/x-artifact',
  contentEncoding: 'gzip',
  cacheControl: 'max-age=60',
  headers: {
    'x-artifact-tag': 'a+b/c==',
    empty: '',
    latin: 'caf\u00e9',
    spaces: 'a  b',
    percent: '100%',
    rfc2047: '=?a?=',
  },
};
const ON_THE_WIRE = {
  'content-type': 'text/x-artifact',
  'content-encoding': 'gzip',
  'cache-control': 'max-age=60',
  'x-amz-meta-hotblob-x-artifact-tag': 'a+b/c==',
  'x-amz-meta-hotblob-empty': '%00',
  'x-amz-meta-hotblob-latin': 'caf%C3%A9',
  'x-amz-meta-hotblob-spaces': 'a %20b',
  'x-amz-meta-hotblob-percent': '100%25',
  'x-amz-meta-hotblob-rfc2047': '%3D%3Fa?=',
};

for (const [what, length] of [
  ['PUT', 1000],
  ['POST uploads', PART + 1],
] as const) {
  test(`what an upload says is said of the object, and comes back: ${what}`, async (t) => {
    const { store, wire } = await site(t, { partBytes: PART });
    await put(store, 'a', content(length), { metadata: SAID });
    t.like(wire.seen.find((seen) => seen.what === what)?.headers, ON_THE_WIRE);
    t.like(await find(store, 'a'), SAID);
    await put(store, 'a', content(length));
    const { contentType, contentEncoding, cacheControl, headers } = await find(store, 'a');
    t.deepEqual(
      { contentType, contentEncoding, cacheControl, headers },
      {
        contentType: 'application/octet-stream',
        contentEncoding: undefined,
        cacheControl: undefined,
        headers: undefined,
      },
    );
  });
}

test('the metadata of other programs means other things', async (t) => {
  const each = await site(t);
  const { client } = clientOf(t, 'given', each);
  const Metadata = { mtime: '1', 'set-cookie': 'a=b', 'hotblob-tag': '%zz' };
  await client?.send(new PutObjectCommand({ Bucket: BUCKET, Key: `${each.prefix}/a`, Body: 'x', Metadata }));
  t.deepEqual((await find(each.store, 'a')).headers, { tag: '%zz' });
});

test('more than the store takes, or S3, is refused', async (t) => {
  const { store, wire } = await site(t);
  const metadata = (length: number) => ({ headers: { tag: 'x'.repeat(length) } });
  const tooLarge = refusal('ERR_HOTBLOB_METADATA_TOO_LARGE');
  await t.throwsAsync(put(store, 'a', 'x', { metadata: metadata(5000) }), tooLarge);
  t.deepEqual(wire.asked, []);
  wire.fault = ({ what }) => (what === 'PUT' ? { answer: 400, code: 'MetadataTooLarge' } : undefined);
  await t.throwsAsync(put(store, 'a', 'x', { metadata: metadata(3000) }), tooLarge);
});

test('whatever the value of a header, S3 gets visible ASCII, and it comes back', (t) => {
  const codes = fc.integer({ min: 0x20, max: 0xff }).filter((code) => code < 0x7f || code >= 0x80);
  const values = fc.array(codes, { maxLength: 30 }).map((all) => String.fromCharCode(...all).trim());
  fc.assert(
    fc.property(values, (value) => {
      const description = descriptionOf({ headers: { tag: value } });
      const carried = description.Metadata?.['hotblob-tag'] ?? '';
      t.regex(carried, /^[\x21-\x7e](?: ?[\x21-\x7e])*$/);
      t.deepEqual(metadataOf(description).headers, { tag: value });
    }),
  );
});
