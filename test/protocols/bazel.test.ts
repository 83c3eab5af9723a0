import { createHash } from 'node:crypto';
import test from 'ava';
import { staticTokens } from '../../src/access/static-tokens.js';
import { bazel } from '../../src/protocols/bazel/bazel.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody, open } from '../behaviour/site.js';
import { content } from '../stores/fixture.js';
import { assertStatuses, PROTOCOL_KINDS, serveProtocols } from './fixture.js';

const BODY = content(300_000);
const OTHER = 'f'.repeat(64);
const EMPTY = createHash('sha256').digest('hex');

for (const kind of PROTOCOL_KINDS) {
  test(`${kind}: a cas upload must match the SHA-256 in its path, an ac upload need not`, async (t) => {
    const { ask } = await serveProtocols(t, kind, bazel());
    const sha256 = createHash('sha256').update(BODY).digest('hex');
    for (const instance of ['', '/team']) {
      const cas = `/bazel${instance}/cas/`;
      for (const body of [BODY, chunks(BODY)]) {
        t.is((await ask('PUT', cas + OTHER, { body })).status, 400);
        t.is((await ask('GET', cas + OTHER)).status, 404);
      }
      t.is((await ask('PUT', cas + sha256, { body: BODY })).status, 200);
      // A rejected upload does not remove the stored artifact.
      t.is((await ask('PUT', cas + sha256, { body: BODY.subarray(1) })).status, 400);
      assertBody(t, (await ask('GET', cas + sha256)).body, BODY);
      t.is((await ask('PUT', `/bazel${instance}/ac/${OTHER}`, { body: BODY })).status, 200);
    }
    t.is((await ask('PUT', `/bazel/cas/${EMPTY}`, { body: Buffer.alloc(0) })).status, 200);
    t.is((await ask('GET', `/bazel/cas/${EMPTY}`)).headers['content-length'], '0');
  });

  test(`${kind}: keeps instances apart by their decoded names`, async (t) => {
    const { ask } = await serveProtocols(t, kind, bazel());
    const hash = `ac/${OTHER}`;
    const names = [
      '',
      'main/',
      'Main/',
      'a/b/',
      'a/',
      'ac/',
      'my%20team/',
      'instances/a/',
      'instances%252Fa/',
      '%C3%A4/',
    ];
    for (const [seed, name] of names.entries()) {
      t.is((await ask('PUT', `/bazel/${name}${hash}`, { body: content(100, seed) })).status, 200, name);
    }
    for (const [seed, name] of names.entries()) {
      assertBody(t, (await ask('GET', `/bazel/${name}${hash}`)).body, content(100, seed));
    }
    assertBody(t, (await ask('GET', `/bazel/%6Dain/${hash}`)).body, content(100, 1));
    await assertStatuses(t, ask, [
      ['GET', `/bazel/a%2Fb/${hash}`, 400],
      ['GET', `/bazel/a//b/${hash}`, 400],
      ['GET', `/bazel/%FF/${hash}`, 400],
      ['GET', `/bazel/%EF%BF%BD/${hash}`, 400],
      ['GET', `/bazel/${'a'.repeat(1000)}/${hash}`, 414],
      ['GET', `/bazel/main/status`, 400],
    ]);
  });

  test(`${kind}: passes the instance as the namespace, and answers status without access`, async (t) => {
    const token = 'team-0123456789abcdef';
    const access = staticTokens([{ token, level: 'write', protocols: ['bazel'], namespaces: ['my team'] }]);
    const { ask } = await open(t, kind, { store: memoryStore(), protocols: [bazel()], access });
    // Bazel encodes the credentials of a URL as base64url.
    const headers = { authorization: `Basic ${Buffer.from(`user:${token}`).toString('base64url')}` };
    const path = `/bazel/my%20team/ac/${OTHER}`;
    t.is((await ask('PUT', path, { headers, body: BODY })).status, 200);
    assertBody(t, (await ask('GET', path, { headers })).body, BODY);
    for (const other of [`/bazel/ac/${OTHER}`, `/bazel/my/ac/${OTHER}`, `/bazel/my%2520team/ac/${OTHER}`]) {
      t.is((await ask('GET', other, { headers })).status, 401, other);
    }
    t.is((await ask('GET', path)).status, 401);
    t.is((await ask('GET', '/bazel/status')).status, 200);
    t.is((await ask('HEAD', '/bazel/status')).status, 200);
    const posted = await ask('POST', '/bazel/status');
    t.is(posted.status, 405);
    t.is(posted.headers.allow, 'GET, HEAD');
  });
}

async function* chunks(body: Buffer): AsyncGenerator<Buffer> {
  for (let start = 0; start < body.byteLength; start += 100_000) yield body.subarray(start, start + 100_000);
}
