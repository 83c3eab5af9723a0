import { createHmac, type KeyObject } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { createOidcPolicy, oidcAccess } from '../../../src/access/oidc/oidc-access.js';
import type { AccessDecision } from '../../../src/access/policy.js';
import { encode, Issuer, type TokenClaims } from '../../helpers/issuer.js';
import { ANY_TEAM, levelOf, openSite, requestWith, toLevel } from './fixture.js';

const CLAIMS = { team: 'web', sub: 'team:web' };
const NOW = Math.floor(Date.now() / 1000);

for (const algorithm of ['RS256', 'ES256', 'EdDSA'] as const) {
  test(`accepts a token that is signed with ${algorithm}`, async (t) => {
    const { issuer, policy } = await openSite(t, { algorithm });
    t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'write');
  });
}

test('a verified token is decided synchronously, without another request to the issuer', async (t) => {
  const { issuer, policy } = await openSite(t);
  const token = issuer.sign(CLAIMS);
  t.true(policy(requestWith(token)) instanceof Promise);
  await policy(requestWith(token));
  t.is(toLevel(policy(requestWith(token)) as AccessDecision), 'write');
  t.is(issuer.requests, 1);
});

test('the grant has the scope and the subject', async (t) => {
  const rules = [
    { when: { team: '*' }, level: 'write', scope: 'team/{team}', reads: ['main'], overwrite: false },
  ] as const;
  const { issuer, policy } = await openSite(t, { rules });
  t.like(await policy(requestWith(issuer.sign(CLAIMS))), {
    level: 'write',
    scope: 'team/web',
    scopes: ['main', 'team/web'],
    overwrite: false,
    subject: 'team:web',
  });
});

const REFUSED_CLAIMS: Readonly<Record<string, TokenClaims>> = {
  'a token that has expired': { exp: NOW - 31 },
  'a token without exp': { exp: undefined },
  'a token whose exp is a string': { exp: `${NOW + 60}` },
  'a token whose exp is negative': { exp: -1 },
  'a token that is not valid yet': { nbf: NOW + 3600 },
  'a token whose nbf is a string': { nbf: `${NOW}` },
  'a token from the future': { iat: NOW + 3600 },
  'a token for another audience': { aud: 'other' },
  'a token for several other audiences': { aud: ['other', 'hotblo'] },
  'a token without an audience': { aud: undefined },
  'a token whose audience is a part of the accepted one': { aud: 'hot' },
  'a token of another issuer': { iss: 'https://evil.example.com' },
  'a token without an issuer': { iss: undefined },
  'a token whose issuer is an array': { iss: ['http://127.0.0.1'] },
  'a token that no rule matches': { team: undefined },
};

for (const [name, claims] of Object.entries(REFUSED_CLAIMS)) {
  test(`refuses ${name}`, async (t) => {
    const { issuer, policy } = await openSite(t);
    t.is(await levelOf(policy, issuer.sign({ ...CLAIMS, ...claims })), 'none');
  });
}

test('tolerates clocks that differ', async (t) => {
  const { issuer, policy } = await openSite(t, { clockToleranceMs: 300_000 });
  t.is(await levelOf(policy, issuer.sign({ ...CLAIMS, exp: NOW - 60 })), 'write');
  t.is(await levelOf(policy, issuer.sign({ ...CLAIMS, nbf: NOW + 240, iat: NOW + 240 })), 'write');
  t.is(await levelOf(policy, issuer.sign({ ...CLAIMS, exp: NOW - 301 })), 'none');
  const strict = await openSite(t, { clockToleranceMs: 0 });
  t.is(await levelOf(strict.policy, strict.issuer.sign({ ...CLAIMS, exp: NOW - 1 })), 'none');
});

test('a verified token is refused as soon as it expires', async (t) => {
  const { issuer, policy, advance } = await openSite(t);
  const token = issuer.sign({ ...CLAIMS, exp: NOW + 3600 });
  t.is(await levelOf(policy, token), 'write');
  advance(3_540_000);
  t.is(await levelOf(policy, token), 'write');
  advance(91_000);
  t.is(await levelOf(policy, token), 'none');
});

test('minLifetimeMs accepts a token after its exp', async (t) => {
  const { issuer, policy, advance } = await openSite(t, { trust: () => ({ minLifetimeMs: 3_600_000 }) });
  const token = issuer.sign(CLAIMS);
  t.is(await levelOf(policy, token), 'write');
  advance(3_590_000);
  t.is(await levelOf(policy, token), 'write');
  t.is(await levelOf(policy, issuer.sign({ ...CLAIMS, exp: NOW - 1 })), 'write');
  t.is(await levelOf(policy, issuer.sign({ ...CLAIMS, exp: NOW - 1, iat: undefined })), 'none');
  advance(41_000);
  t.is(await levelOf(policy, token), 'none');
});

test('accepts one of several audiences', async (t) => {
  const { issuer, policy } = await openSite(t, { trust: () => ({ audience: ['a', 'b'] }) });
  t.is(await levelOf(policy, issuer.sign({ ...CLAIMS, aud: 'b' })), 'write');
  t.is(await levelOf(policy, issuer.sign({ ...CLAIMS, aud: ['x', 'a'] })), 'write');
  t.is(await levelOf(policy, issuer.sign({ ...CLAIMS, aud: 'ab' })), 'none');
});

/** Returns tokens of an attacker who knows the public key and a valid token. */
function forgeries(issuer: Issuer, attacker: Issuer): Readonly<Record<string, string>> {
  const claims = { ...CLAIMS, iss: issuer.url };
  const valid = issuer.sign(CLAIMS);
  const [header = '', payload = '', signature = ''] = valid.split('.');
  const pem = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' });
  const hmac = (secret: string | Buffer, kid: string) => {
    const signed = `${encode({ alg: 'HS256', kid })}.${payload}`;
    return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
  };
  return {
    'alg none without a signature': `${encode({ alg: 'none', kid: 'key-1' })}.${payload}.`,
    'alg none with a signature': `${encode({ alg: 'none', kid: 'key-1' })}.${payload}.${signature}`,
    'alg NONE': `${encode({ alg: 'NONE', kid: 'key-1' })}.${payload}.${signature}`,
    'HMAC with the public key': hmac(pem(issuer.publicKey()), 'key-1'),
    'HMAC with the JWK': hmac(JSON.stringify(issuer.jwks[0]), 'key-1'),
    'HMAC with an empty secret': hmac('', 'key-1'),
    'another algorithm of the same key type': attacker.sign(claims, { alg: 'PS256' }),
    'a key of the attacker with the same key id': attacker.sign(claims),
    'a key of the attacker without a key id': attacker.sign(claims, { kid: undefined }),
    'a key in the header (jwk)': attacker.sign(claims, { jwk: attacker.jwks[0] }),
    'a key at an address in the header (jku)': attacker.sign(claims, { jku: `${attacker.url}/keys`, kid: 'evil' }),
    'a certificate at an address in the header (x5u)': attacker.sign(claims, { x5u: `${attacker.url}/keys` }),
    'a key id that is a number': issuer.sign(CLAIMS, { kid: 1 }),
    'a key id that is an object': issuer.sign(CLAIMS, { kid: { toString: 'key-1' } }),
    'critical extensions': issuer.sign(CLAIMS, { crit: ['exp'] }),
    'an unencoded payload': issuer.sign(CLAIMS, { b64: false, crit: ['b64'] }),
    'no signature': `${header}.${payload}.`,
    'only two parts': `${header}.${payload}`,
    'five parts': `${valid}.${payload}.${signature}`,
    'another payload': `${header}.${encode({ ...claims, aud: 'hotblob', exp: NOW + 300, team: 'evil' })}.${signature}`,
    'a payload that is an array': `${header}.${encode([])}.${signature}`,
    'a header that is null': `${encode(null)}.${payload}.${signature}`,
    'a header that is not JSON': `eyJhbGciOi.${payload}.${signature}`,
    'the token of another key pair': attacker.sign({ ...CLAIMS }),
  };
}

test('refuses forgeries', async (t) => {
  const { issuer, policy } = await openSite(t, { algorithm: 'RS256' });
  const attacker = await Issuer.start(t, 'RS256');
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'write');
  for (const [name, token] of Object.entries(forgeries(issuer, attacker)))
    t.is(await levelOf(policy, token), 'none', name);
  t.is(attacker.requests, 0);
});

test('refuses every mutation of a valid token', async (t) => {
  const { issuer, policy } = await openSite(t);
  const token = issuer.sign(CLAIMS);
  t.is(await levelOf(policy, token), 'write');
  const signatureStart = token.lastIndexOf('.') + 1;
  const character = fc.constantFrom(...'abcXYZ019-_.=+/ ');
  await fc.assert(
    fc.asyncProperty(
      fc.nat(token.length - 2),
      fc.constantFrom('replace', 'insert', 'delete', 'swap', 'truncate'),
      character,
      async (index, kind, letter) => {
        const [before, rest] = [token.slice(0, index), token.slice(index)];
        const mutations = {
          replace: before + letter + rest.slice(1),
          insert: before + letter + rest,
          delete: before + rest.slice(1),
          swap: before + (rest[1] ?? '') + (rest[0] ?? '') + rest.slice(2),
          truncate: before,
        };
        const mutated = mutations[kind as keyof typeof mutations];
        // The last characters of a signature can have bits that no byte uses: the signature is then the same.
        const isSame =
          mutated.slice(0, signatureStart) === token.slice(0, signatureStart) &&
          Buffer.from(mutated.slice(signatureStart), 'base64url').equals(
            Buffer.from(token.slice(signatureStart), 'base64url'),
          );
        if (!isSame) t.is(await levelOf(policy, mutated), 'none', mutated);
      },
    ),
    { numRuns: 1000 },
  );
});

test('refuses garbage without asking the issuer', async (t) => {
  const { issuer, policy } = await openSite(t);
  const garbage = [
    '',
    'x',
    'eyJ',
    'eyJ.eyJ.eyJ',
    'a.b.c',
    `eyJ${'x'.repeat(100_000)}.e30.x`,
    'ey.J.',
    '..',
    'eyJ\n.a.b',
  ];
  for (const token of garbage) t.is(policy(requestWith(token)), 'none', token.slice(0, 20));
  const unsigned = `${encode({ alg: 'ES256', kid: 'key-1' })}.${encode({ iss: issuer.url, aud: 'hotblob', exp: 1 })}.x`;
  t.is(policy(requestWith(unsigned)), 'none');
  t.is(policy(requestWith(undefined)), 'none');
  t.is(issuer.requests, 0);
});

test('two issuers with the same key id do not mix', async (t) => {
  const [a, b] = [await Issuer.start(t), await Issuer.start(t)];
  const policy = oidcAccess({
    issuers: [a, b].map(({ url }) => ({ issuer: url, audience: 'hotblob' })),
    rules: [
      { issuer: a.url, when: { team: 'web' }, level: 'write', scope: 'a' },
      { issuer: b.url, when: { team: 'web' }, level: 'write', scope: 'b' },
    ],
  });
  t.like(await policy(requestWith(a.sign(CLAIMS))), { scope: 'a' });
  t.like(await policy(requestWith(b.sign(CLAIMS))), { scope: 'b' });
  t.is(await levelOf(policy, a.sign({ ...CLAIMS, iss: b.url })), 'none');
  t.is(await levelOf(policy, b.sign({ ...CLAIMS, iss: a.url })), 'none');
});

test('inline keys need no issuer', async (t) => {
  const issuer = await Issuer.start(t);
  const policy = oidcAccess({
    issuers: [{ issuer: issuer.url, audience: 'hotblob', keys: issuer.jwks }],
    rules: [ANY_TEAM],
  });
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'write');
  issuer.addKey('ES256', 'key-2');
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'none');
  await policy.reload();
  t.is(issuer.requests, 0);
});

test('many requests with a new token verify it once', async (t) => {
  const { issuer, policy } = await openSite(t);
  await levelOf(policy, issuer.sign(CLAIMS));
  const token = issuer.sign({ ...CLAIMS, jti: 'x' });
  const decisions = Array.from({ length: 50 }, () => policy(requestWith(token)));
  t.true(decisions.every((decision) => decision instanceof Promise));
  t.is(new Set(await Promise.all(decisions)).size, 1);
});

test('a flood of tokens with a wrong signature does not affect a token that is known', async (t) => {
  const { issuer, policy } = await openSite(t);
  const token = issuer.sign(CLAIMS);
  await policy(requestWith(token));
  const attacker = await Issuer.start(t);
  const flood = Array.from({ length: 1000 }, (_, jti) =>
    policy(requestWith(attacker.sign({ ...CLAIMS, iss: issuer.url, jti }))),
  );
  t.is(toLevel(policy(requestWith(token)) as AccessDecision), 'write');
  const results = await Promise.allSettled(flood);
  const refused = results.filter((result) => result.status === 'rejected');
  t.true(refused.length > 500, `${refused.length}`);
  t.true(refused.every(({ reason }) => reason.status === 503));
  for (const result of results) if (result.status === 'fulfilled') t.is(result.value, 'none');
});

test('a missing jose is only needed for tokens', (t) => {
  const policy = createOidcPolicy(
    { rules: [{ certificate: { 'subject.CN': 'ci' }, level: 'read' }] },
    { wallMs: Date.now, monotonicMs: () => 0 },
  );
  t.is(policy(requestWith('eyJhbGciOiJFUzI1NiJ9.e30.x')), 'none');
});
