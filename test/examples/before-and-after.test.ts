import { spawnSync } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { type Request, type Response, request } from '../helpers/client.js';
import { type RunningExample, startExample } from '../helpers/example.js';
import { assertEndures, SECRET } from '../helpers/hostile-requests.js';
import { until } from '../helpers/poll.js';
import { RawConnection } from '../helpers/raw.js';
import { content, temporaryDirectory } from '../stores/fixture.js';

const FOLDER = 'examples/before-and-after';
const TOKEN = 'of-the-build-0123456789';
const BYTES = content(300_000);
const NAME = '0123abcd';
const PATH = `/artifacts/${NAME}`;
/** A small body is sent before the response arrives, so that closing the connection after an early response does no harm. */
const REJECTED = Buffer.from('rejected');

/** Features of a server. */
interface Abilities {
  readonly ranges: boolean;
  readonly etags: boolean;
}

/** Features of each server without hotblob. With hotblob, every server has all of them. */
const BEFORE: Readonly<Record<string, Abilities>> = {
  node: { ranges: false, etags: false },
  connect: { ranges: true, etags: true },
  express: { ranges: true, etags: true },
  koa: { ranges: false, etags: false },
  fastify: { ranges: true, etags: true },
  hono: { ranges: true, etags: false },
};

test('every framework has a server before and after', async (t) => {
  const files = Object.keys(BEFORE).flatMap((name) => [`${name}.before.ts`, `${name}.after.ts`]);
  t.deepEqual((await readdir(FOLDER)).sort(), [...files, 'artifacts.ts'].sort());
});

for (const [name, abilities] of Object.entries(BEFORE)) {
  test(`${name}: the change from before to after adds at most seven lines`, async (t) => {
    const [before, after] = [`${FOLDER}/${name}.before.ts`, `${FOLDER}/${name}.after.ts`];
    const { stdout, status } = spawnSync('diff', [before, after], { encoding: 'utf8' });
    t.is(status, 1, 'the files differ');
    const added = stdout.split('\n').filter((line) => line.startsWith('> '));
    t.true(added.length <= 7, stdout);
    t.is(added.filter((line) => /hot\.(?:send|trySend)\(/.test(line)).length, 1, 'one line sends the artifact');
    t.notRegex(await readFile(before, 'utf8'), /hotblob/);
  });

  testServer(`${name}.before`, abilities);
  testServer(`${name}.after`, { ranges: true, etags: true });
}

function testServer(name: string, abilities: Abilities): void {
  // Serial, because each test starts a process that compiles TypeScript.
  test.serial(`${name} stores uploads, serves artifacts, rejects invalid requests and logs`, async (t) => {
    const directory = `${await temporaryDirectory(t)}/artifacts`;
    // Without escape sequences for colours in the log.
    const environment = { DIR: directory, TOKEN, NO_COLOR: '1' };
    const example = await startExample(t, `before-and-after/${name}.ts`, environment);
    const site: Site = {
      directory,
      example,
      ask: (options = {}, authorization = `Bearer ${TOKEN}`) =>
        request(example.server, { path: PATH, ...options, headers: { authorization, ...options.headers } }),
    };
    await assertRefusals(t, site);
    await assertServes(t, site, abilities, name.endsWith('.after'));
    await assertReplaces(t, site);
    await assertEndures(t, example.server, 60);
    await assertEndures(t, example.server, 60, [['authorization', `Bearer ${TOKEN}`]]);
    t.is((await site.ask()).status, 200);
  });
}

interface Site {
  readonly directory: string;
  readonly example: RunningExample;
  ask(options?: Request, authorization?: string): Promise<Response>;
}

async function assertRefusals(t: ExecutionContext, { directory, ask }: Site): Promise<void> {
  for (const authorization of ['', 'Bearer unknown-token', TOKEN]) {
    t.is((await ask({}, authorization)).status, 401);
    t.is((await ask({ method: 'PUT', body: REJECTED }, authorization)).status, 401);
  }
  await writeFile(`${directory}/../secret`, SECRET);
  for (const path of ['/artifacts/../secret', '/artifacts/..%2fsecret', '/artifacts/%00', '/artifacts/', '/', PATH]) {
    const { status, body } = await ask({ path });
    t.true(status === 400 || status === 404, `${path}: ${status}`);
    t.false(body.includes(SECRET), path);
    t.is((await ask({ path, method: 'HEAD' })).status, status, path);
    if (path === PATH) continue;
    t.is((await ask({ path, method: 'PUT', body: REJECTED })).status, status, path);
  }
  t.deepEqual(await readdir(directory), ['.uploads']);
  t.is(await readFile(`${directory}/../secret`, 'utf8'), SECRET);
}

async function assertServes(
  t: ExecutionContext,
  { directory, example, ask }: Site,
  { ranges, etags }: Abilities,
  isHotblob: boolean,
): Promise<void> {
  t.is((await ask({ method: 'PUT', body: BYTES })).status, 200);
  t.deepEqual((await readdir(directory)).sort(), ['.uploads', NAME]);

  const whole = await ask();
  assertWhole(t, whole);
  t.is(whole.headers['cache-control']?.includes('no-transform') ?? false, isHotblob, 'sent by hotblob');
  t.is(whole.headers.etag !== undefined, etags);

  const head = await ask({ method: 'HEAD' });
  t.like(head, { status: 200, body: Buffer.alloc(0) });
  t.is(head.headers['content-length'], '300000');

  const part = await ask({ headers: { range: 'bytes=9-18' } });
  if (ranges) {
    t.is(part.status, 206);
    t.is(part.headers['content-range'], 'bytes 9-18/300000');
    t.true(part.body.equals(BYTES.subarray(9, 19)));
  } else assertWhole(t, part);

  const again = await ask({ headers: { 'if-none-match': whole.headers.etag ?? '"none"' } });
  if (etags) t.like(again, { status: 304, body: Buffer.alloc(0) });
  else assertWhole(t, again);

  // PUT, GET and HEAD, and each range or precondition that the server ignores.
  const successes = 3 + Number(!ranges) + Number(!etags);
  const logged = () => example.lines.filter((line) => / 200 |"statusCode":200/.test(line)).length;
  await until('every response is logged', () => logged() >= successes);
  t.is(logged(), successes);
}

async function assertReplaces(t: ExecutionContext, { directory, example, ask }: Site): Promise<void> {
  const replaced = content(200_000, 1);
  t.is((await ask({ method: 'PUT', body: replaced })).status, 200);
  await until('the new bytes are served', async () => (await ask()).body.equals(replaced));

  const connection = await RawConnection.open(t, example.server);
  const head = ['host: localhost', `authorization: Bearer ${TOKEN}`, 'content-length: 300000', '', ''];
  connection.write(`PUT ${PATH} HTTP/1.1\r\n${head.join('\r\n')}${'x'.repeat(1000)}`);
  const uploads = async () => (await readdir(`${directory}/.uploads`)).length;
  await until('the upload has begun', async () => (await uploads()) === 1);
  connection.destroy();
  await until('the aborted upload is deleted', async () => (await uploads()) === 0);
  t.true((await ask()).body.equals(replaced));
}

function assertWhole(t: ExecutionContext, { status, headers, body }: Response): void {
  t.is(status, 200);
  t.is(headers['content-length'], '300000');
  t.is(headers['content-type'], 'application/octet-stream');
  t.true(body.equals(BYTES));
}
