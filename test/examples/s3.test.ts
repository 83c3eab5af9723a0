import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import test from 'ava';
import { request } from '../helpers/client.js';
import { assertEndures } from '../helpers/hostile-requests.js';
import { BUCKET, CREDENTIALS, S3rver } from '../helpers/s3rver.js';
import { KINDS, type RunningServer } from '../helpers/servers.js';
import { content } from '../stores/fixture.js';

test('examples/s3.ts prints its address and stores artifacts in the bucket', async (t) => {
  const service = await S3rver.start();
  t.teardown(() => service.stop());
  const child = spawn(process.execPath, ['--import=tsx', 'examples/s3.ts'], {
    env: {
      ...process.env,
      PORT: '0',
      BUCKET,
      PREFIX: 'team',
      ENDPOINT: `http://127.0.0.1:${service.port}`,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await closed;
  });
  const { value: line = '' } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
  t.regex(line, /^listening on http:\/\/127\.0\.0\.1:\d+$/);
  const server: RunningServer = {
    ...KINDS.http,
    kind: 'http',
    port: Number(/\d+$/.exec(line)),
    certificate: undefined,
  };
  const bytes = content(300_000);
  t.is((await request(server, { path: '/cache/a/b' })).status, 404);
  t.is((await request(server, { method: 'PUT', path: '/cache/a/b', body: bytes })).status, 200);
  t.true((await request(server, { path: '/cache/a/b' })).body.equals(bytes));
  t.deepEqual(await service.names('team/'), ['team/a/b']);
  await assertEndures(t, server, 60);
  t.true((await request(server, { path: '/cache/a/b' })).body.equals(bytes));
});
