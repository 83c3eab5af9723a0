import { mkdir, writeFile } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { assertBody } from '../behaviour/site.js';
import { snippetsOf, startProgram } from '../helpers/snippets.js';
import { content, temporaryDirectory } from '../stores/fixture.js';

const BYTES = content(300_000);
const snippets = await snippetsOf('docs/frameworks.md');

/** Returns the code of the snippet of docs/frameworks.md that imports these packages. */
function codeWith(...names: readonly string[]): string {
  const found = snippets.filter(({ code }) => names.every((name) => code.includes(` from '${name}';`)));
  const [snippet] = found;
  if (snippet === undefined || found.length > 1) throw new Error(`${found.length} snippets import ${names}`);
  return snippet.code;
}

/** Version 1 of h3, as described below the snippet of version 2. */
const H3_V1 = `
import { createServer } from 'node:http';
import { createApp, createRouter, defineEventHandler, fromNodeMiddleware, toNodeListener } from 'h3v1';
import { createHandler, directoryStore, fileArtifact } from 'hotblob';
import { createSender, nodeListener } from 'hotblob/node';

const hot = createSender();
const handler = createHandler({ store: await directoryStore('./artifacts') });
const router = createRouter().get('/files/:name', defineEventHandler(async (event) => {
  const artifact = fileArtifact(event.context.params.name, { root: '/var/cache/builds' });
  await hot.send(event.node.req, event.node.res, artifact);
}));
const app = createApp().use('/cache', fromNodeMiddleware(nodeListener(handler))).use(router);
createServer(toNodeListener(app)).listen(8080);
`;

/** Starts a program with a directory of files instead of its own. Returns its base URL. */
async function startWithFile(t: ExecutionContext, code: string): Promise<string> {
  const root = `${await temporaryDirectory(t)}/builds`;
  await mkdir(root);
  await writeFile(`${root}/file`, BYTES);
  return startProgram(t, code.replace('/var/cache/builds', root));
}

async function ask(url: string, init?: RequestInit) {
  const response = await fetch(url, init);
  return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
}

async function assertHandler(t: ExecutionContext, base: string): Promise<void> {
  t.is((await ask(`${base}/cache/some/key`, { method: 'PUT', body: BYTES })).status, 200);
  const { status, body } = await ask(`${base}/cache/some/key`);
  t.is(status, 200);
  assertBody(t, body, BYTES);
  const missing = await ask(`${base}/cache/none`);
  t.is(missing.status, 404);
  t.deepEqual(JSON.parse(missing.body.toString()), { message: 'Not found.' });
}

async function assertRoute(t: ExecutionContext, base: string): Promise<void> {
  const { status, body } = await ask(`${base}/files/file`);
  t.is(status, 200);
  assertBody(t, body, BYTES);
  const range = await ask(`${base}/files/file`, { headers: { range: 'bytes=5-9' } });
  t.is(range.status, 206);
  assertBody(t, range.body, BYTES.subarray(5, 10));
  t.is((await ask(`${base}/files/none`)).status, 404);
  t.is((await ask(`${base}/elsewhere`)).status, 404);
}

for (const [title, code] of [
  ['Nest on Express', codeWith('@nestjs/core', 'hotblob/express')],
  ['Nest on Fastify', codeWith('@nestjs/core', 'hotblob/fastify')],
  ['h3 2', codeWith('h3')],
  ['h3 1', H3_V1],
] as const) {
  // One at a time: each starts a process that compiles TypeScript.
  test.serial(`${title}: a handler, a route, and 404 for a missing file`, async (t) => {
    const base = await startWithFile(t, code);
    await assertHandler(t, base);
    await assertRoute(t, base);
  });
}

test.serial('tRPC: a handler beside its standalone server', async (t) => {
  const base = await startWithFile(t, codeWith('@trpc/server'));
  await assertHandler(t, base);
  const { status, body } = await ask(`${base}/hello`);
  t.is(status, 200);
  t.deepEqual(JSON.parse(body.toString()), { result: { data: 'hello' } });
});
