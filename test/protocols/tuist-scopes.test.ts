import { join } from 'node:path';
import test from 'ava';
import type { AccessDecision } from '../../src/access/policy.js';
import type { TuistOptions } from '../../src/protocols/tuist/tuist.js';
import { temporaryDirectory } from '../stores/fixture.js';
import { openTuist, PROJECT } from './tuist-site.js';

const GRANTS: Readonly<Record<string, AccessDecision>> = {
  main: { level: 'write', scope: 'main' },
  pr: { level: 'write', scope: 'pr/7', reads: ['main'] },
  other: { level: 'write', scope: 'pr/8', reads: ['main'] },
  lonely: { level: 'write', scope: 'pr/9' },
  once: { level: 'write', scope: 'pr/10', reads: ['main'], overwrite: false },
};
const ARTIFACT = `/api/cache/cas/0123?${PROJECT}`;
const MODULE = `${PROJECT}&hash=0123456789abcdef&name=Module.zip`;

async function start(t: Parameters<typeof openTuist>[0], options: TuistOptions = {}) {
  const access = ({ credentials }: { credentials: { token: string } | undefined }): AccessDecision =>
    GRANTS[credentials?.token ?? ''] ?? 'none';
  const uploadsDir = join(await temporaryDirectory(t), 'parts');
  const { ask } = await openTuist(t, 'http', { uploadsDir, ...options }, { access });
  return (client: string, method: string, path: string, body?: string) =>
    ask(method, path, {
      headers: { authorization: `Bearer ${client}` },
      ...(body === undefined ? {} : { body: Buffer.from(body) }),
    });
}

test('the artifacts and deletions of a scope do not reach another, whoever comes first', async (t) => {
  const ask = await start(t);
  // A process keeps the generation of a project in memory for a second: it must not be that of another scope.
  t.is((await ask('lonely', 'POST', ARTIFACT, 'lonely')).status, 204);
  t.is((await ask('main', 'GET', ARTIFACT)).status, 404);
  t.is((await ask('main', 'POST', ARTIFACT, 'of main')).status, 204);
  t.is((await ask('pr', 'GET', ARTIFACT)).body.toString(), 'of main');
  for (const client of ['lonely', 'pr']) t.is((await ask(client, 'DELETE', `/api/cache/clean?${PROJECT}`)).status, 204);
  t.is((await ask('main', 'GET', ARTIFACT)).body.toString(), 'of main');
  t.is((await ask('other', 'GET', ARTIFACT)).body.toString(), 'of main');
  t.is((await ask('lonely', 'GET', ARTIFACT)).status, 404);
});

for (const first of ['main', 'pr']) {
  test(`each scope has its own artifacts and deletions, if ${first} is the first to upload`, async (t) => {
    const ask = await start(t);
    const [own, shared, module] = [`/api/cache/cas/own?${PROJECT}`, ARTIFACT, `/api/cache/module/any?${MODULE}`];
    const upload = { main: shared, pr: own };
    for (const client of first === 'main' ? (['main', 'pr'] as const) : (['pr', 'main'] as const)) {
      t.is((await ask(client, 'POST', upload[client], `of ${client}`)).status, 204);
    }
    t.is((await ask('pr', 'GET', shared)).body.toString(), 'of main');
    t.is((await ask('pr', 'GET', own)).body.toString(), 'of pr');
    t.is((await ask('main', 'GET', own)).status, 404);
    t.is((await ask('pr', 'HEAD', module)).status, 404);
    t.is((await ask('pr', 'DELETE', `/api/cache/clean?${PROJECT}`)).status, 204);
    t.is((await ask('pr', 'GET', own)).status, 404, 'the own artifacts are deleted');
    t.is((await ask('pr', 'GET', shared)).body.toString(), 'of main');
    t.is((await ask('pr', 'POST', own, 'again')).status, 204);
    t.is((await ask('main', 'DELETE', `/api/cache/clean?${PROJECT}`)).status, 204);
    t.is((await ask('pr', 'GET', shared)).status, 404);
    t.is((await ask('pr', 'GET', own)).body.toString(), 'again');
  });
}

test('a client that may not replace artifacts may not delete all of them', async (t) => {
  const ask = await start(t);
  t.is((await ask('once', 'DELETE', `/api/cache/clean?${PROJECT}`)).status, 403);
  t.is((await ask('once', 'POST', ARTIFACT, 'first')).status, 204);
  t.is((await ask('once', 'DELETE', `/api/cache/clean?${PROJECT}`)).status, 403);
  t.is((await ask('once', 'POST', ARTIFACT, 'second')).status, 204);
  t.is((await ask('once', 'GET', ARTIFACT)).body.toString(), 'first');
});

test('unfinished uploads of a scope leave the share of another in the same namespace', async (t) => {
  const ask = await start(t, { maxUploads: 32 });
  const begin = async (client: string, index: number) =>
    (await ask(client, 'POST', `/api/cache/module/start?${PROJECT}&hash=${index}&name=Module.zip`)).status;
  for (let index = 0; index < 8; index++) t.is(await begin('pr', index), 200);
  t.is(await begin('pr', 8), 503);
  t.is(await begin('main', 0), 200);
});

test('an upload in parts belongs to the scope that started it', async (t) => {
  const ask = await start(t);
  const { upload_id: id } = JSON.parse((await ask('pr', 'POST', `/api/cache/module/start?${MODULE}`)).body.toString());
  const part = (client: string, body: string) =>
    ask(client, 'POST', `/api/cache/module/part?upload_id=${id}&part_number=1`, body);
  const complete = (client: string) =>
    ask(client, 'POST', `/api/cache/module/complete?upload_id=${id}`, JSON.stringify({ parts: [1] }));
  t.is((await part('pr', 'module')).status, 204);
  for (const client of ['other', 'main']) {
    t.is((await part(client, 'poison')).status, 404);
    t.is((await complete(client)).status, 404);
  }
  t.is((await complete('pr')).status, 204);
  t.is((await ask('pr', 'GET', `/api/cache/module/any?${MODULE}`)).body.toString(), 'module');
  t.is((await ask('main', 'GET', `/api/cache/module/any?${MODULE}`)).status, 404);
});
