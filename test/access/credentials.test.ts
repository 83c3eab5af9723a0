import test from 'ava';
import fc from 'fast-check';
import { credentialsOf } from '../../src/access/credentials.js';

const TOKEN_CHARACTERS = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/'];
const token68 = fc
  .tuple(fc.string({ unit: fc.constantFrom(...TOKEN_CHARACTERS), minLength: 1 }), fc.constantFrom('', '=', '=='))
  .map((parts) => parts.join(''));
/** Name of a scheme in mixed case, followed by one to three spaces. */
const scheme = (name: string) =>
  fc
    .tuple(fc.mixedCase(fc.constant(name)), fc.integer({ min: 1, max: 3 }))
    .map(([word, spaces]) => word + ' '.repeat(spaces));
/** User names and passwords contain no control character, and user names no colon (RFC 7617, section 2). */
const text = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((value) => !/\p{Cc}/u.test(value));
const user = text.filter((value) => !value.includes(':'));
const encoding = fc.constantFrom<(bytes: Buffer) => string>(
  (bytes) => bytes.toString('base64'),
  (bytes) => bytes.toString('base64').replaceAll('=', ''),
  (bytes) => bytes.toString('base64url'),
  (bytes) => bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_'),
);

const basic = (pair: string | Uint8Array) => `Basic ${Buffer.from(pair).toString('base64')}`;

test('returns a Bearer token for the scheme in any case', (t) => {
  fc.assert(
    fc.property(scheme('bearer'), token68, (prefix, token) => {
      t.deepEqual(credentialsOf(prefix + token), { token, user: undefined });
    }),
  );
});

test('returns the password of Basic as the token, in both alphabets, with and without padding', (t) => {
  fc.assert(
    fc.property(scheme('basic'), user, text, encoding, (prefix, name, password, encode) => {
      const found = credentialsOf(prefix + encode(Buffer.from(`${name}:${password}`)));
      if (password !== '') t.deepEqual(found, { token: password, user: name === '' ? undefined : name });
      else if (name !== '') t.deepEqual(found, { token: name, user: undefined });
      else t.is(found, undefined);
    }),
    { numRuns: 500 },
  );
});

test('decodes base64 and base64url to the same token', (t) => {
  const expected = { token: 'ÿÿþ>>?', user: 'ü~~' };
  const bytes = Buffer.from('ü~~:ÿÿþ>>?');
  t.regex(bytes.toString('base64'), /[+/]/);
  t.regex(bytes.toString('base64url'), /[-_]/);
  t.deepEqual(credentialsOf(`Basic ${bytes.toString('base64')}`), expected);
  t.deepEqual(credentialsOf(`Basic ${bytes.toString('base64url')}`), expected);
});

for (const [title, authorization, token, name] of [
  ['the example of RFC 7617', 'Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==', 'open sesame', 'Aladdin'],
  ['the example of RFC 7617 with UTF-8', 'Basic dGVzdDoxMjPCow==', '123£', 'test'],
  ['the example of RFC 6750', 'Bearer mF_9.B5f-4.1JqM', 'mF_9.B5f-4.1JqM', undefined],
  ['a password with colons', basic('ci:a:b:'), 'a:b:', 'ci'],
  ['a password without a user', basic(':secret'), 'secret', undefined],
  ['a user without a password', basic('secret:'), 'secret', undefined],
  ['a user that begins with a byte order mark', basic('\uFEFFci:secret'), 'secret', '\uFEFFci'],
] as const) {
  test(`accepts ${title}`, (t) => {
    t.deepEqual(credentialsOf(authorization), { token, user: name });
  });
}

for (const [title, authorization] of [
  ['no header', undefined],
  ['an empty header', ''],
  ['a scheme alone', 'Bearer'],
  ['a scheme and a space', 'Basic '],
  ['two tokens', 'Bearer one two'],
  ['two tokens with a comma', 'Bearer one,two'],
  ['a token in quotes', 'Bearer "one"'],
  ['a token with = inside', 'Bearer a=b'],
  ['a token that is = alone', 'Bearer ='],
  ['a token with a line break', 'Bearer one\n'],
  ['a token outside ASCII', 'Bearer ſecret'],
  ['a scheme outside ASCII', 'Baſic YTpi'],
  ['a tab instead of the space', 'Bearer\tone'],
  ['no space', 'Bearerone'],
  ['another scheme', 'Digest username="a"'],
  ['a token without a scheme', 'one'],
  ['Basic without a colon', basic('secret')],
  ['Basic with nothing but a colon', basic(':')],
  ['Basic with a control character', basic('ci:sec\u0000ret')],
  ['Basic with a line break', basic('ci:secret\n')],
  ['Basic that is not UTF-8', basic(Buffer.from('ci:\xfc', 'latin1'))],
  ['Basic with half a byte', 'Basic YTpiY'],
  ['Basic with padding inside', 'Basic YTo=YTpi'],
  ['Basic with too much padding', 'Basic YTpi==='],
  ['Basic with a parameter', 'Basic YTpi realm="x"'],
  ['Basic that is not base64', 'Basic YT*i'],
] as const) {
  test(`returns undefined for ${title}`, (t) => {
    t.is(credentialsOf(authorization), undefined);
  });
}

test('never throws for random text, and never returns an empty token', (t) => {
  const garbage = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc
      .tuple(fc.constantFrom('Basic ', 'Bearer ', 'basic  '), fc.string({ unit: 'binary' }))
      .map((parts) => parts.join('')),
    fc.uint8Array({ maxLength: 40 }).map((bytes) => basic(bytes)),
    fc.base64String().map((payload) => `Basic ${payload}`),
  );
  fc.assert(
    fc.property(garbage, (authorization) => {
      t.not(credentialsOf(authorization)?.token, '');
    }),
    { numRuns: 2000 },
  );
});

test('parses a malicious header in linear time', (t) => {
  // 64 times the maximum size of a header. In quadratic time, each would take minutes.
  const length = 2 ** 20;
  for (const part of ['a', '=', ' ', 'a=', '/', 'YTpi']) {
    for (const prefix of ['Bearer ', 'Basic ']) t.is(credentialsOf(`${prefix}${part.repeat(length)} *`), undefined);
  }
});
