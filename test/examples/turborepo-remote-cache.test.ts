import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Response, request } from '../helpers/client.js';
import { startExample } from '../helpers/example.js';
import { assertEndures } from '../helpers/hostile-requests.js';
import { content, temporaryDirectory } from '../stores/fixture.js';

const BYTES = content(300_000);
const TOKEN = 'of-the-build-0123456789';

test.serial('the server stores uploads, and downloads support ranges and preconditions', async (t) => {
  const { ask } = await begin(t);
  const put = await ask('/v8/artifacts/abc?teamId=team', {
    method: 'PUT',
    body: BYTES,
    headers: { 'content-type': 'application/octet-stream' },
  });
  t.is(put.body.toString(), '{"urls":["team/abc"]}');
  for (const query of ['teamId=team', 'team=team', 'slug=team', 'teamId=team&slug=other']) {
    const { status, headers, body } = await ask(`/v8/artifacts/abc?${query}`);
    t.is(status, 200, query);
    t.is(headers['content-length'], '300000');
    t.true(body.equals(BYTES), query);
  }
  const part = await ask('/v8/artifacts/abc?teamId=team', { headers: { range: 'bytes=9-18' } });
  t.is(part.status, 206);
  t.true(part.body.equals(BYTES.subarray(9, 19)));
  const { etag } = part.headers;
  t.is((await ask('/v8/artifacts/abc?teamId=team', { headers: { 'if-none-match': etag } })).status, 304);
  t.is((await ask('/v8/artifacts/abc?teamId=team', { method: 'HEAD' })).status, 200);
});

test.serial('the server responds to misses and invalid requests itself', async (t) => {
  const { directory, server, ask } = await begin(t);
  const own = async (path: string, headers = {}) => {
    const { status, body } = await ask(path, { headers });
    return [status, JSON.parse(body.toString()).message];
  };
  await mkdir(`${directory}/team`);
  await writeFile(`${directory}/team/abc`, BYTES);
  await writeFile(`${directory}-secret`, 'secret');
  t.deepEqual(await own('/v8/artifacts/none?teamId=team'), [404, 'Artifact not found']);
  t.deepEqual(await own(`/v8/artifacts/${basename(directory)}-secret?teamId=..`), [404, 'Artifact not found']);
  t.deepEqual(await own(`/v8/artifacts/..%2f..%2f${basename(directory)}-secret?teamId=a`), [404, 'Artifact not found']);
  t.deepEqual(await own('/v8/artifacts/abc'), [400, "querystring should have required property 'team'"]);
  await assertEndures(t, server, 60);
  await assertEndures(t, server, 60, [['authorization', `Bearer ${TOKEN}`]]);
  const wrong = { authorization: 'Bearer unknown-token' };
  t.deepEqual(await own('/v8/artifacts/abc?teamId=team', wrong), [401, 'Invalid authorization token']);
});

test.serial('an artifact that was downloaded while it was being written is sent whole after the upload', async (t) => {
  const { directory, ask } = await begin(t);
  const path = `${directory}/team/abc`;
  await mkdir(`${directory}/team`);
  await writeFile(path, BYTES.subarray(0, 100_000));
  t.is((await ask('/v8/artifacts/abc?teamId=team')).body.byteLength, 100_000);
  await appendFile(path, BYTES.subarray(100_000));
  t.true((await ask('/v8/artifacts/abc?teamId=team')).body.equals(BYTES));
});

test.serial('with a signature key, an uploaded signature is sent, and an artifact without one is a miss', async (t) => {
  const { ask } = await begin(t, { TURBO_REMOTE_CACHE_SIGNATURE_KEY: 'a key of the team with 32 bytes or more' });
  const upload = { 'content-type': 'application/octet-stream' };
  const signed = { ...upload, 'x-artifact-tag': 'c2lnbmVk' };
  await ask('/v8/artifacts/signed?teamId=team', { method: 'PUT', body: BYTES, headers: signed });
  await ask('/v8/artifacts/bare?teamId=team', { method: 'PUT', body: BYTES, headers: upload });
  const { status, headers, body } = await ask('/v8/artifacts/signed?teamId=team');
  t.is(status, 200);
  t.is(headers['x-artifact-tag'], 'c2lnbmVk');
  t.true(body.equals(BYTES));
  t.is((await ask('/v8/artifacts/bare?teamId=team')).status, 404);
});

async function begin(t: ExecutionContext, environment: Readonly<Record<string, string>> = {}) {
  const directory = `${await temporaryDirectory(t)}/artifacts`;
  const { server } = await startExample(t, 'turborepo-remote-cache.ts', {
    ...environment,
    DIR: directory,
    TURBO_TOKEN: TOKEN,
  });
  const ask = (path: string, options: Parameters<typeof request>[1] = {}): Promise<Response> =>
    request(server, { path, ...options, headers: { authorization: `Bearer ${TOKEN}`, ...options.headers } });
  return { directory, server, ask };
}
