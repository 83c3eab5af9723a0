import { createHash } from 'node:crypto';
import test from 'ava';
import { declaredDigests } from '../../src/http/digest.js';

const digest = (algorithm: 'sha256' | 'sha512') => createHash(algorithm).update('body').digest();
const SHA256 = digest('sha256');
const SHA512 = digest('sha512');

test('returns the digests of Content-Digest and Repr-Digest', (t) => {
  t.deepEqual(declaredDigests({}), []);
  t.deepEqual(
    declaredDigests({
      'content-digest': `sha-256=:${SHA256.toString('base64')}:`,
      'repr-digest': `sha-512=:${SHA512.toString('base64')}: , sha-256=:${SHA256.toString('base64')}:`,
    }),
    [
      { algorithm: 'sha256', value: SHA256 },
      { algorithm: 'sha512', value: SHA512 },
    ],
  );
});

test('the last of several digests with one algorithm counts', (t) => {
  const wrong = `sha-256=:${Buffer.alloc(32).toString('base64')}:`;
  const right = `sha-256=:${SHA256.toString('base64')}:`;
  const header = [...Array(300).fill(wrong), 'sha-256=:AAAA:', right].join(', ');
  t.deepEqual(declaredDigests({ 'content-digest': header, 'repr-digest': right }), [
    { algorithm: 'sha256', value: SHA256 },
  ]);
  t.throws(() => declaredDigests({ 'content-digest': right, 'repr-digest': wrong }), {
    code: 'ERR_HOTBLOB_BAD_REQUEST',
    message: 'content-digest and repr-digest: expected the same sha256, received different ones',
  });
});

test('ignores other algorithms', (t) => {
  t.deepEqual(declaredDigests({ 'content-digest': 'md5=:AAAA:, constructor=:AAAA:, crc32c=::' }), []);
});

for (const [header, message] of [
  ['', 'content-digest: expected digests in the form sha-256=:BASE64:'],
  ['sha-256', 'content-digest: expected digests in the form sha-256=:BASE64:'],
  [`sha-256=${SHA256.toString('base64')}`, 'content-digest: expected digests in the form sha-256=:BASE64:'],
  [`SHA-256=:${SHA256.toString('base64')}:`, 'content-digest: expected digests in the form sha-256=:BASE64:'],
  ['sha-256=:AAAA:', 'content-digest: expected 32 bytes for sha-256, received 3'],
  [`sha-256=:${SHA512.toString('base64')}:`, 'content-digest: expected 32 bytes for sha-256, received 64'],
] as const) {
  test(`rejects the header ${JSON.stringify(header)}`, (t) => {
    t.throws(() => declaredDigests({ 'content-digest': header }), { code: 'ERR_HOTBLOB_BAD_REQUEST', message });
  });
}
