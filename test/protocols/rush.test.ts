import test from 'ava';
import { staticTokens } from '../../src/access/static-tokens.js';
import { rush } from '../../src/protocols/rush.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody, open } from '../behaviour/site.js';
import { content } from '../stores/fixture.js';
import { assertStatuses, PROTOCOL_KINDS, serveProtocols } from './fixture.js';

const BODY = content(300_000);

for (const kind of PROTOCOL_KINDS) {
  test(`${kind}: stores an upload by each method of the plugin, under any key`, async (t) => {
    const { ask } = await serveProtocols(t, kind, rush());
    const keys = ['0123abcd', 'my-project-build-0123abcd', 'prefix/0123abcd', '@scope/project-0123abcd', 'a%20b'];
    for (const method of ['PUT', 'POST', 'PATCH']) {
      for (const [seed, key] of keys.entries()) {
        t.is((await ask(method, `/rush/${method}${key}`, { body: content(100, seed) })).status, 200);
        assertBody(t, (await ask('GET', `/rush/${method}${key}`)).body, content(100, seed));
      }
    }
    await assertStatuses(t, ask, [
      ['GET', '/rush/missing', 404],
      ['DELETE', '/rush/key', 405],
      ['GET', '/rush/', 400],
      ['PUT', '/rush/a/../b', 400],
      ['PUT', '/rush/a%2Fb', 400],
    ]);
  });

  test(`${kind}: passes the first of several segments as the namespace`, async (t) => {
    const token = 'team-0123456789abcdef';
    const access = staticTokens([{ token, level: 'write', namespaces: ['team'] }]);
    const { ask } = await open(t, kind, { store: memoryStore(), protocols: [rush()], access });
    // Rush sends the credential as it is configured.
    const headers = { authorization: `Bearer ${token}` };
    t.is((await ask('PUT', '/rush/team/0123abcd', { headers, body: BODY })).status, 200);
    assertBody(t, (await ask('GET', '/rush/team/0123abcd', { headers })).body, BODY);
    for (const path of ['/rush/other/0123abcd', '/rush/team', '/rush/0123abcd']) {
      t.is((await ask('GET', path, { headers })).status, 401, path);
    }
  });
}
