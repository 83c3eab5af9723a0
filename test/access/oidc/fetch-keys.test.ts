import test from 'ava';
import { fetchKeys } from '../../../src/access/oidc/fetch-keys.js';

test('the discovery document of an https: issuer cannot lead to an http: address of this machine', async (t) => {
  const issuer = 'https://id.example.com';
  const { fetch } = globalThis;
  t.teardown(() => {
    globalThis.fetch = fetch;
  });
  const urls: string[] = [];
  globalThis.fetch = (url) => {
    urls.push(String(url));
    return Promise.resolve(Response.json({ issuer, jwks_uri: 'http://127.0.0.1:8080/keys', keys: [] }));
  };
  await t.throwsAsync(fetchKeys({ issuer, audience: 'hotblob' }, 1000), {
    message: /: expected jwks_uri to be an https: URL, received 'http:\/\/127\.0\.0\.1:8080\/keys'$/,
  });
  t.deepEqual(urls, [`${issuer}/.well-known/openid-configuration`]);
});
