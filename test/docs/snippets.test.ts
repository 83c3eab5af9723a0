import { mkdir, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import test, { type ExecutionContext } from 'ava';
import { PAGES } from '../helpers/pages.js';
import { CREDENTIALS, S3rver } from '../helpers/s3rver.js';
import { runSnippet, snippetsOf, startProgram, titleOf } from '../helpers/snippets.js';
import { temporaryDirectory } from '../stores/fixture.js';

/** Environment variables that the snippets of a page need. */
const ENVIRONMENTS: Readonly<Record<string, (t: ExecutionContext) => Promise<Record<string, string>>>> = {
  'docs/s3.md': async (t) => {
    const service = await S3rver.start();
    t.teardown(() => service.stop());
    const endpoint = `http://127.0.0.1:${service.port}`;
    const client = new S3Client({ endpoint, region: 'us-east-1', credentials: CREDENTIALS });
    await client.send(new CreateBucketCommand({ Bucket: 'builds' }));
    client.destroy();
    return {
      AWS_ENDPOINT_URL: endpoint,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    };
  },
};

const snippets = await Promise.all(PAGES.map(snippetsOf));

for (const page of snippets) {
  for (const snippet of page) {
    // One at a time: each starts a process that compiles TypeScript.
    test.serial(`${titleOf(snippet)} runs`, async (t) => {
      const environment = await ENVIRONMENTS[snippet.page]?.(t);
      await runSnippet(t, snippet, environment === undefined ? { page } : { page, environment });
    });
  }
}

test.serial('the first example of the README does not send the artifacts of another team', async (t) => {
  const { code } = snippets[0]?.[0] ?? t.fail();
  const check = `app.use('/cache/:team/:name', (request, response, next) =>
    request.params.team === 'mine' ? next() : response.sendStatus(403));\napp.get(`;
  const root = await temporaryDirectory(t);
  for (const team of ['mine', 'other']) {
    await mkdir(`${root}/${team}`);
    await writeFile(`${root}/${team}/name`, team);
  }
  const base = await startProgram(t, code.replace('app.get(', check).replace('/var/cache/builds', root));
  const get = async (path: string) => (await fetch(`${base}/cache/${path}`)).status;
  t.is(await get('mine/name'), 200);
  t.is(await get('other/name'), 403);
  for (const name of [
    '..%2Fother%2Fname',
    '%2e%2e%2fother%2fname',
    `..%2F..%2F${basename(root)}%2Fother%2Fname`,
    'name%2F',
  ]) {
    t.is(await get(`mine/${name}`), 404, name);
  }
});

test('finds the snippets', (t) => {
  t.true(snippets.flat().length >= 25);
});
