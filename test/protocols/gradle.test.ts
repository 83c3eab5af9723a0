import http from 'node:http';
import test from 'ava';
import { staticTokens } from '../../src/access/static-tokens.js';
import { gradle } from '../../src/protocols/gradle.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody, open } from '../behaviour/site.js';
import { content } from '../stores/fixture.js';
import { assertStatuses, PROTOCOL_KINDS, serveProtocols } from './fixture.js';

const PATH = `/gradle/${'0123456789abcdef'.repeat(2)}`;
const BODY = content(300_000);

for (const kind of PROTOCOL_KINDS) {
  test(`${kind}: returns the content type of the upload`, async (t) => {
    const { ask } = await serveProtocols(t, kind, gradle());
    for (const version of ['v1', 'v2']) {
      const contentType = `application/vnd.gradle.build-cache-artifact.${version}`;
      t.is((await ask('PUT', PATH, { body: BODY, headers: { 'content-type': contentType } })).status, 200);
      const hit = await ask('GET', PATH, { headers: { accept: `${contentType}, */*` } });
      t.is(hit.headers['content-type'], contentType);
      assertBody(t, hit.body, BODY);
    }
  });

  test(`${kind}: does not store an upload above the limit`, async (t) => {
    const { ask } = await open(t, kind, { store: memoryStore(), protocols: [gradle()], maxUploadBytes: 1000 });
    t.is((await ask('PUT', PATH, { body: BODY })).status, 202);
    t.is((await ask('GET', PATH)).status, 404);
  });

  test(`${kind}: keeps namespaces apart, and passes them to the access policy`, async (t) => {
    const { ask } = await serveProtocols(t, kind, gradle());
    const key = '0123456789abcdef'.repeat(2);
    const names = ['', 'team/', 'Team/', 'a/b/', 'a/', 'namespaces/a/', 'my%20team/', 'namespaces%252Fa/', `${key}/`];
    for (const [seed, name] of names.entries()) {
      t.is((await ask('PUT', `/gradle/${name}${key}`, { body: content(100, seed) })).status, 200, name);
    }
    for (const [seed, name] of names.entries()) {
      assertBody(t, (await ask('GET', `/gradle/${name}${key}`)).body, content(100, seed));
    }
    await assertStatuses(t, ask, [
      ['GET', `/gradle/a%2Fb/${key}`, 400],
      ['GET', `/gradle/a//${key}`, 400],
      ['GET', `/gradle/%FF/${key}`, 400],
      ['GET', '/gradle/team/not-a-key', 400],
      ['POST', `/gradle/team/${key}`, 405],
    ]);
    const token = 'team-0123456789abcdef';
    const access = staticTokens([{ token, level: 'write', namespaces: ['my team'] }]);
    const guarded = await open(t, kind, { store: memoryStore(), protocols: [gradle()], access });
    const headers = { authorization: `Bearer ${token}` };
    t.is((await guarded.ask('PUT', `/gradle/my%20team/${key}`, { headers, body: BODY })).status, 200);
    t.is((await guarded.ask('PUT', `/gradle/other/${key}`, { headers, body: BODY })).status, 401);
    t.is((await guarded.ask('PUT', `/gradle/${key}`, { headers, body: BODY })).status, 401);
  });
}

test('answers Expect: 100-continue before the body', async (t) => {
  const { ask, server } = await serveProtocols(t, 'http', gradle());
  const outgoing = http.request({
    host: '127.0.0.1',
    port: server.port,
    method: 'PUT',
    path: PATH,
    headers: { expect: '100-continue', 'content-length': BODY.byteLength },
  });
  const response = new Promise<http.IncomingMessage>((resolve, reject) => {
    outgoing.on('response', resolve).on('error', reject);
  });
  let continued = 0;
  outgoing.on('continue', () => {
    continued++;
    outgoing.end(BODY);
  });
  outgoing.flushHeaders();
  const { statusCode } = (await response).resume();
  t.is(statusCode, 200);
  t.is(continued, 1);
  assertBody(t, (await ask('GET', PATH)).body, BODY);
});
