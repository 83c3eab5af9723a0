import type { ServerResponse } from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { COOLDOWN_MS } from '../../../src/access/oidc/issuer-keys.js';
import { until } from '../../helpers/poll.js';
import { levelOf, openSite, requestWith } from './fixture.js';

const CLAIMS = { team: 'web' };
const HOUR_MS = 3_600_000;
/** The tests move the clock by hours, so their tokens are valid for days. */
const trust = () => ({ minLifetimeMs: 24 * HOUR_MS });

function fail(response: ServerResponse): void {
  response.statusCode = 500;
  response.end();
}

test('a token with a new key fetches the keys again, at most once in the cooldown', async (t) => {
  const { issuer, policy, advance } = await openSite(t);
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'write');
  issuer.addKey('RS256', 'key-2');
  const token = issuer.sign(CLAIMS);
  t.is(await levelOf(policy, token), 'none');
  t.is(issuer.requests, 1);
  advance(COOLDOWN_MS);
  t.is(await levelOf(policy, token), 'write');
  t.is(issuer.requests, 2);
  t.is(await levelOf(policy, issuer.sign(CLAIMS, { kid: 'made-up' })), 'none');
  t.is(issuer.requests, 2);
});

test('concurrent requests share one fetch', async (t) => {
  const { issuer, policy } = await openSite(t);
  const tokens = Array.from({ length: 20 }, (_, jti) => issuer.sign({ ...CLAIMS, jti }));
  t.deepEqual(new Set(await Promise.all(tokens.map((token) => levelOf(policy, token)))), new Set(['write']));
  t.is(issuer.requests, 1);
});

test('a revoked key is dropped within the cache time, with the tokens that it has signed', async (t) => {
  const { issuer, policy, advance } = await openSite(t, { trust });
  const token = issuer.sign(CLAIMS);
  t.is(await levelOf(policy, token), 'write');
  issuer.addKey('ES256', 'key-2');
  issuer.removeKey('key-1');
  advance(599_000);
  t.is(await levelOf(policy, token), 'write', 'used while the keys are fetched in the background');
  await until('the keys have been fetched', async () => (await levelOf(policy, token)) === 'none');
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'write');
});

test('after the cache time, a request waits for the keys', async (t) => {
  const { issuer, policy, advance } = await openSite(t, { trust });
  const token = issuer.sign(CLAIMS);
  t.is(await levelOf(policy, token), 'write');
  issuer.removeKey('key-1');
  advance(600_000);
  t.is(await levelOf(policy, token), 'none');
});

test('a server that was idle for hours accepts the next token at once', async (t) => {
  const { issuer, policy, advance, warnings } = await openSite(t, { trust });
  const token = issuer.sign(CLAIMS);
  t.is(await levelOf(policy, token), 'write');
  advance(5 * HOUR_MS);
  t.is(await levelOf(policy, token), 'write');
  t.deepEqual(warnings, []);
});

test('a key that is replaced under the same id is another key', async (t) => {
  const { issuer, policy, advance } = await openSite(t, { trust });
  const token = issuer.sign(CLAIMS);
  t.is(await levelOf(policy, token), 'write');
  issuer.removeKey('key-1');
  issuer.addKey('ES256', 'key-1');
  advance(600_000);
  t.is(await levelOf(policy, token), 'none');
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'write');
});

test('if fetches fail, the last keys are used for maxStaleMs', async (t) => {
  const { issuer, policy, advance, warnings } = await openSite(t, { trust });
  const token = issuer.sign(CLAIMS);
  t.is(await levelOf(policy, token), 'write');
  issuer.respond = fail;
  advance(600_000);
  t.is(await levelOf(policy, token), 'write');
  t.deepEqual(warnings, [`${issuer.url}: cannot fetch the keys: ${issuer.url}/keys: status 500`]);
  advance(HOUR_MS - 1);
  t.is(await levelOf(policy, token), 'write');
  advance(1);
  t.is(await levelOf(policy, token), 'none');
  t.is(warnings.length, 2);
  t.regex(warnings[1] ?? '', /all tokens are rejected until the keys can be fetched/);
  issuer.respond = undefined;
  advance(COOLDOWN_MS);
  t.is(await levelOf(policy, token), 'write');
  t.is(warnings[2], `${issuer.url}: the keys can be fetched again`);
});

test('keys that expired while the server was idle are not used when the fetch fails', async (t) => {
  const { issuer, policy, advance } = await openSite(t, { trust });
  const token = issuer.sign(CLAIMS);
  t.is(await levelOf(policy, token), 'write');
  issuer.respond = fail;
  advance(5 * HOUR_MS);
  t.is(await levelOf(policy, token), 'none');
});

test('a slow fetch delays requests only until its timeout', async (t) => {
  const { issuer, policy, advance, warnings } = await openSite(t, { trust, timeoutMs: 1000 });
  const token = issuer.sign(CLAIMS);
  await until('the keys have been fetched in time', async () => {
    advance(COOLDOWN_MS);
    return (await levelOf(policy, token)) === 'write';
  });
  warnings.length = 0;
  issuer.respond = () => {}; // never responds
  advance(600_000);
  t.is(await levelOf(policy, token), 'write');
  t.deepEqual(warnings, [`${issuer.url}: cannot fetch the keys: ${issuer.url}/keys: no response within 1000 ms`]);
  advance(COOLDOWN_MS);
  t.false(policy(requestWith(token)) instanceof Promise, 'the second attempt runs in the background');
});

for (const [name, respond] of [
  ['stalls after its headers', (response: ServerResponse) => response.write('{"keys":[')],
  [
    'arrives byte by byte',
    (response: ServerResponse) => {
      const drip = setInterval(() => response.write(' '), 20);
      response.once('close', () => clearInterval(drip));
    },
  ],
  ['has no headers', () => {}],
] as const) {
  test(`a fetch ends at its timeout after a garbage collection if the response ${name}`, async (t) => {
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    const { issuer, policy, warnings } = await openSite(t, {
      trust: ({ url }) => ({ jwksUri: `${url}/keys` }),
      timeoutMs: 1000,
    });
    issuer.respond = respond;
    const collections = setInterval(collect, 50);
    t.teardown(() => clearInterval(collections));
    await policy.reload();
    t.deepEqual(warnings, [`${issuer.url}: cannot fetch the keys: ${issuer.url}/keys: no response within 1000 ms`]);
  });
}

test('a first fetch that fails refuses the token', async (t) => {
  const { issuer, policy, advance, warnings } = await openSite(t);
  issuer.respond = fail;
  const token = issuer.sign(CLAIMS);
  t.is(await levelOf(policy, token), 'none');
  t.is(await levelOf(policy, token), 'none');
  t.is(issuer.requests, 1);
  t.is(warnings.length, 1);
  issuer.respond = undefined;
  advance(COOLDOWN_MS);
  t.is(await levelOf(policy, token), 'write');
});

test('reload fetches the keys in advance', async (t) => {
  const { issuer, policy } = await openSite(t);
  await policy.reload();
  t.is(issuer.requests, 1);
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'write');
  t.is(issuer.requests, 1);
});

test('a key set at an address of its own needs no discovery', async (t) => {
  const { issuer, policy } = await openSite(t, { trust: ({ url }) => ({ jwksUri: `${url}/keys` }) });
  issuer.discovery = { issuer: 'https://evil.example.com' };
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'write');
});

for (const [name, discovery, message] of [
  [
    'names another issuer',
    { issuer: 'https://evil.example.com' },
    /expected the issuer 'http:.*', received 'https:\/\/evil/,
  ],
  ['has no key set', { jwks_uri: undefined }, /expected jwks_uri to be an https: URL, received 'undefined'/],
  ['names a key set without TLS', { jwks_uri: 'http://example.com/' }, /expected jwks_uri to be an https: URL/],
  ['names a file', { jwks_uri: 'file:///etc/passwd' }, /expected jwks_uri to be an https: URL/],
] as const) {
  test(`refuses a discovery document that ${name}`, async (t) => {
    const { issuer, policy, warnings } = await openSite(t);
    issuer.discovery = discovery;
    t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'none');
    t.regex(warnings[0] ?? '', message);
    t.is(issuer.requests, 0);
  });
}

for (const [name, respond, message] of [
  ['is not JSON', (response: ServerResponse) => response.end('<html>'), /JSON/],
  ['is an array', (response: ServerResponse) => response.end('[]'), /expected a JSON object/],
  ['has no keys', (response: ServerResponse) => response.end('{}'), /expected a key set/],
  ['is too large', (response: ServerResponse) => response.end(' '.repeat(1_100_000)), /more than 1048576 bytes/],
  ['ends early', (response: ServerResponse) => response.destroy(), /keys: /],
] as const) {
  test(`refuses a key set that ${name}`, async (t) => {
    const { issuer, policy, warnings } = await openSite(t);
    issuer.respond = respond;
    t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'none');
    t.regex(warnings[0] ?? '', message);
  });
}

test('refuses a redirect, which could lead to the keys of another server', async (t) => {
  const { issuer, policy, warnings } = await openSite(t);
  issuer.respond = (response) => {
    issuer.respond = undefined;
    response.writeHead(302, { location: '/keys' }).end();
  };
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'none');
  t.regex(warnings[0] ?? '', /redirect/);
});

test('ignores keys that cannot verify tokens', async (t) => {
  const { issuer, policy } = await openSite(t);
  const [key = t.fail()] = issuer.jwks;
  const others = [
    null,
    'key',
    { kty: 'oct', k: 'c2VjcmV0', kid: 'key-1' },
    { ...key, use: 'enc' },
    { ...key, key_ops: ['encrypt'] },
    { ...key, alg: 'RS256' },
    { ...key, crv: 'secp256k1' },
    { ...key, kid: 7 },
    { ...key, kty: { toString: 1, valueOf: 1 } },
    { ...key, kty: 'EC', crv: { toString: 1, valueOf: 1 } },
    { ...key, use: { toString: 1, valueOf: 1 } },
  ];
  issuer.respond = (response) => response.end(JSON.stringify({ keys: [...others, key] }));
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'write');
});

test('a token without a key id is verified if only one key is suitable', async (t) => {
  const { issuer, policy, advance } = await openSite(t);
  t.is(await levelOf(policy, issuer.sign(CLAIMS, { kid: undefined })), 'write');
  issuer.addKey('ES256', 'key-2');
  advance(COOLDOWN_MS);
  await policy.reload();
  t.is(await levelOf(policy, issuer.sign({ ...CLAIMS, jti: 'x' }, { kid: undefined })), 'none');
});
