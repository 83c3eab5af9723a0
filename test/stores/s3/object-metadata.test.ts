import { PutObjectCommand } from '@aws-sdk/client-s3';
import test from 'ava';
import fc from 'fast-check';
import { fromObjectMetadata, toObjectMetadata } from '../../../src/stores/s3/object-metadata.js';
import { BUCKET } from '../../helpers/s3rver.js';
import { content, put, refusal } from '../fixture.js';
import { clientOption, getArtifact, PART, setupFor } from './fixture.js';

const setup = setupFor(test);

const METADATA = {
  contentType: 'text/x-artifact',
  contentEncoding: 'gzip',
  cacheControl: 'max-age=60',
  headers: {
    'x-artifact-tag': 'a+b/c==',
    'x-artifact-empty': '',
    'x-artifact-latin': 'caf\u00e9',
    'x-artifact-spaces': 'a  b',
    'x-artifact-percent': '100%',
    'x-artifact-rfc2047': '=?a?=',
  },
};
const REQUEST_HEADERS = {
  'content-type': 'text/x-artifact',
  'content-encoding': 'gzip',
  'cache-control': 'max-age=60',
  'x-amz-meta-hotblob-x-artifact-tag': 'a+b/c==',
  'x-amz-meta-hotblob-x-artifact-empty': '%00',
  'x-amz-meta-hotblob-x-artifact-latin': 'caf%C3%A9',
  'x-amz-meta-hotblob-x-artifact-spaces': 'a %20b',
  'x-amz-meta-hotblob-x-artifact-percent': '100%25',
  'x-amz-meta-hotblob-x-artifact-rfc2047': '%3D%3Fa?=',
};

for (const [operation, length] of [
  ['PUT', 1000],
  ['POST uploads', PART + 1],
] as const) {
  test(`stores the metadata of an upload with the object and returns it: ${operation}`, async (t) => {
    const { store, proxy } = await setup(t, { partBytes: PART });
    await put(store, 'a', content(length), { metadata: METADATA });
    t.like(proxy.requests.find((request) => request.operation === operation)?.headers, REQUEST_HEADERS);
    t.like(await getArtifact(store, 'a'), METADATA);
    await put(store, 'a', content(length));
    const { contentType, contentEncoding, cacheControl, headers } = await getArtifact(store, 'a');
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

test('ignores the metadata of other programs', async (t) => {
  const current = await setup(t);
  const { client } = clientOption(t, 'given', current);
  const Metadata = {
    mtime: '1',
    'set-cookie': 'a=b',
    'hotblob-x-artifact-tag': '%zz',
    'hotblob-x-accel-redirect': '/etc/passwd',
    'hotblob-x-artifact-sha': '%0d%0a',
  };
  await client?.send(new PutObjectCommand({ Bucket: BUCKET, Key: `${current.prefix}/a`, Body: 'x', Metadata }));
  t.deepEqual((await getArtifact(current.store, 'a')).headers, { 'x-artifact-tag': '%zz' });
});

test('rejects more metadata than the store or S3 accepts', async (t) => {
  const { store, proxy } = await setup(t);
  const metadata = (length: number) => ({ headers: { 'x-artifact-tag': 'x'.repeat(length) } });
  const tooLarge = refusal('ERR_HOTBLOB_METADATA_TOO_LARGE');
  await t.throwsAsync(put(store, 'a', 'x', { metadata: metadata(5000) }), tooLarge);
  t.deepEqual(proxy.operations, []);
  proxy.fault = ({ operation }) => (operation === 'PUT' ? { status: 400, code: 'MetadataTooLarge' } : undefined);
  await t.throwsAsync(put(store, 'a', 'x', { metadata: metadata(3000) }), tooLarge);
});

test('encodes any name of a client as visible ASCII and decodes it again', (t) => {
  for (const subject of ['repo:acme/web', 'équipe', '\u{1f600} 100% ', '日本']) {
    const input = toObjectMetadata({ subject });
    t.regex(input.Metadata?.['hotblob-subject'] ?? '', /^[\x21-\x7e](?: ?[\x21-\x7e])* ?$/);
    t.is(fromObjectMetadata(input).subject, subject);
  }
});

test('encodes any header value as visible ASCII and decodes it again', (t) => {
  const codes = fc.integer({ min: 0x20, max: 0xff }).filter((code) => code < 0x7f || code >= 0x80);
  const values = fc.array(codes, { maxLength: 30 }).map((all) => String.fromCharCode(...all).trim());
  fc.assert(
    fc.property(values, (value) => {
      const input = toObjectMetadata({ headers: { 'x-artifact-tag': value } });
      const encoded = input.Metadata?.['hotblob-x-artifact-tag'] ?? '';
      t.regex(encoded, /^[\x21-\x7e](?: ?[\x21-\x7e])*$/);
      t.deepEqual(fromObjectMetadata(input).headers, { 'x-artifact-tag': value });
    }),
  );
});
