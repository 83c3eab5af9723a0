import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import test, { type ExecutionContext } from 'ava';
import { PAGES } from '../helpers/pages.js';
import { CREDENTIALS, S3rver } from '../helpers/s3rver.js';
import { runSnippet, snippetsOf, titleOf } from '../helpers/snippets.js';

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

test('finds the snippets', (t) => {
  t.true(snippets.flat().length >= 25);
});
