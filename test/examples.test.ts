import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import test from 'ava';
import { request } from './helpers/client.js';
import { KINDS, type Kind, type RunningServer } from './helpers/servers.js';
import { content, temporaryDirectory } from './stores/fixture.js';

const BYTES = content(300_000);
const HASH = 'ab'.repeat(32);

interface Example {
  readonly kind: Kind;
  /** Where the artifact lies below DIR. */
  readonly folder: string;
  readonly file: string;
  readonly path: string;
}

const plain: Example = { kind: 'http', folder: 'some', file: 'some/key', path: '/cache/some/key' };

const EXAMPLES: Record<string, Example> = {
  'custom-store.ts': { kind: 'http', folder: 'ab', file: `ab/${HASH.slice(2)}`, path: `/${HASH}` },
  'express.ts': plain,
  'koa.ts': plain,
  'node-http.ts': plain,
  'node-http2.ts': { ...plain, kind: 'h2c' },
};

test('every example has a test', async (t) => {
  t.deepEqual((await readdir('examples')).sort(), Object.keys(EXAMPLES));
});

for (const [name, { kind, folder, file, path }] of Object.entries(EXAMPLES)) {
  test(`examples/${name} says where it listens, and serves an artifact`, async (t) => {
    const directory = await temporaryDirectory(t);
    await mkdir(`${directory}/${folder}`);
    await writeFile(`${directory}/${file}`, BYTES);

    const child = spawn(process.execPath, ['--import=tsx', `examples/${name}`], {
      env: { ...process.env, PORT: '0', DIR: directory },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    t.teardown(async () => {
      child.kill('SIGKILL');
      await exited;
    });
    const { value: line = '' } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
    t.regex(line, /^listening on http:\/\/127\.0\.0\.1:\d+$/);
    const port = Number(/\d+$/.exec(line));
    const server: RunningServer = { ...KINDS[kind], kind, port, certificate: undefined };

    const { status, headers, body } = await request(server, { path });
    t.is(status, 200);
    t.is(headers['content-length'], '300000');
    t.true(body.equals(BYTES));
    t.is((await request(server, { path: `${path}-not` })).status, 404);
  });
}
