// Artifacts in an S3 bucket. BUCKET, region and credentials come from the environment. Set ENDPOINT for a service other than AWS.
import { createServer } from 'node:http';
import { createHandler } from 'hotblob';
import { nodeListener } from 'hotblob/node';
import { s3Store } from 'hotblob/stores/s3';

const { BUCKET = 'builds', PREFIX, ENDPOINT } = process.env;
const store = await s3Store({
  bucket: BUCKET,
  prefix: PREFIX,
  endpoint: ENDPOINT,
  forcePathStyle: ENDPOINT !== undefined,
});

const server = createServer(nodeListener(createHandler({ store, mountPath: '/cache' })));
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object') console.log(`listening on http://127.0.0.1:${address?.port}`);
});
