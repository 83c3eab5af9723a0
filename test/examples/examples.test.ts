import { mkdir, readdir, writeFile } from 'node:fs/promises';
import test from 'ava';
import { request } from '../helpers/client.js';
import { startExample } from '../helpers/example.js';
import { assertEndures, SECRET } from '../helpers/hostile-requests.js';
import { KINDS, type Kind, type RunningServer } from '../helpers/servers.js';
import { content, temporaryDirectory } from '../stores/fixture.js';

const BYTES = content(300_000);
const HASH = 'ab'.repeat(32);

interface Example {
  /** Protocols that the example supports. */
  readonly kinds: readonly Kind[];
  /** Directory of the artifact below DIR. */
  readonly folder: string;
  readonly file: string;
  readonly path: string;
  /** Whether it exits with 0 on SIGTERM. */
  readonly drains: boolean;
}

const plain: Example = { kinds: ['http'], folder: 'some', file: 'some/key', path: '/cache/some/key', drains: false };
const both: Example = { ...plain, kinds: ['http', 'h2c'], drains: true };

const EXAMPLES: Record<string, Example> = {
  'cluster.ts': both,
  'custom-protocol.ts': { ...both, folder: 'libraries/zlib', file: 'libraries/zlib/1.3.1', path: '/lib/zlib/1.3.1' },
  'custom-store.ts': { ...plain, folder: 'ab', file: `ab/${HASH.slice(2)}`, path: `/${HASH}` },
  'express.ts': plain,
  'koa.ts': plain,
  'node-http.ts': plain,
  'node-http2.ts': { ...plain, kinds: ['h2c'] },
  'server.ts': both,
};

test('every example has a test', async (t) => {
  // Examples that need more than a directory have their own test file.
  const elsewhere = [
    'before-and-after',
    'deploy',
    'grafana.json',
    'mesh.ts',
    's3.ts',
    'trust-scopes.ts',
    'turborepo-remote-cache.ts',
  ];
  t.deepEqual((await readdir('examples')).sort(), [...Object.keys(EXAMPLES), ...elsewhere].sort());
});

for (const [name, { kinds, folder, file, path, drains }] of Object.entries(EXAMPLES)) {
  test(`examples/${name} prints its address and serves an artifact`, async (t) => {
    const parent = await temporaryDirectory(t);
    const directory = `${parent}/artifacts`;
    await mkdir(`${directory}/${folder}`, { recursive: true });
    await writeFile(`${directory}/${file}`, BYTES);
    await writeFile(`${parent}/secret`, SECRET);

    const { server: http, lines, end } = await startExample(t, name, { DIR: directory });
    t.regex(lines[0] ?? '', /^listening on /);

    for (const kind of kinds) {
      const server: RunningServer = { ...http, ...KINDS[kind], kind };
      const { status, headers, body } = await request(server, { path });
      t.is(status, 200, kind);
      t.is(headers['content-length'], '300000', kind);
      t.true(body.equals(BYTES), kind);
      await assertEndures(t, server, 60);
      t.is((await request(server, { path: `${path}-not` })).status, 404, kind);
    }
    if (!drains) return;
    t.deepEqual(await end(), [0, null]);
  });
}
