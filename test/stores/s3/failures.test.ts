import { inspect } from 'node:util';
import test from 'ava';
import { statusOf } from '../../../src/contract/errors.js';
import { s3Store } from '../../../src/stores/s3/index.js';
import { until } from '../../helpers/poll.js';
import { BUCKET } from '../../helpers/s3rver.js';
import { content, put, refusal } from '../fixture.js';
import { assertBytes, clientOptions, getArtifact, read, setupFor } from './fixture.js';

const setup = setupFor(test);
const busy = refusal('ERR_HOTBLOB_OVERLOADED');
const denied = refusal('ERR_HOTBLOB_UPSTREAM_DENIED');

test('retries while the service is busy', async (t) => {
  const { store, proxy } = await setup(t);
  await put(store, 'a', content(1000));
  for (const code of ['SlowDown', 'ServiceUnavailable', 'InternalError']) {
    let busyTimes = 2;
    proxy.fault = () => (busyTimes-- > 0 ? { status: code === 'InternalError' ? 500 : 503, code } : undefined);
    proxy.clear();
    assertBytes(t, await read(await getArtifact(store, 'a')), content(1000));
    t.is(proxy.requests.length, 3);
  }
});

test('reports 503 if the service is still busy after all attempts', async (t) => {
  const { store, proxy } = await setup(t, { maxAttempts: 2 });
  proxy.fault = () => ({ status: 503, code: 'SlowDown' });
  for (const task of [() => store.get('a'), () => put(store, 'a', 'x'), () => store.delete('a')]) {
    proxy.clear();
    const error = await t.throwsAsync(task, { ...busy, message: /'cache' failed: S3 responded 503/ });
    t.is(statusOf(error), 503);
    t.is(proxy.requests.length, 2);
  }
  const error = await t.throwsAsync(() => store.get('a'), busy);
  t.regex(error?.message ?? '', /503 SlowDown \(request REQUEST7\)/);
});

test('reports 504 for a service that does not respond, and 502 for one that is unreachable or whose load balancer fails', async (t) => {
  const { store, proxy } = await setup(t, { maxAttempts: 2, requestTimeoutMs: 1000 });
  proxy.fault = () => ({ ignore: true });
  await t.throwsAsync(store.get('a'), refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT', /1000 ms/));
  t.is(proxy.requests.length, 2);
  await until('both requests are aborted', () => proxy.requests.every(({ isAbortedByClient }) => isAbortedByClient));

  proxy.fault = () => ({ htmlStatus: 502 });
  await t.throwsAsync(store.get('a'), refusal('ERR_HOTBLOB_UPSTREAM', /502/));

  await proxy.stop();
  const error = await t.throwsAsync(store.get('a'), refusal('ERR_HOTBLOB_UPSTREAM', /ECONNREFUSED/));
  t.like(error?.cause, { code: 'ECONNREFUSED' });
});

test('names the required permissions when access is denied, also for a miss', async (t) => {
  const { store, proxy } = await setup(t);
  proxy.fault = () => ({ status: 403, code: 'AccessDenied' });
  for (const task of [() => store.get('a'), () => put(store, 'a', 'x'), () => store.delete('a')]) {
    proxy.clear();
    const error = await t.throwsAsync(task, { ...denied, message: /403.*access denied.*s3:ListBucket/ });
    t.is(statusOf(error), 502);
    t.is(proxy.requests.length, 1);
  }
});

test('no error contains a secret at any depth', async (t) => {
  const secrets = { accessKeyId: 'AKIASECRETID', secretAccessKey: 'SECRETKEY', sessionToken: 'SECRETTOKEN' };
  const { store, proxy } = await setup(t, { credentials: secrets, maxAttempts: 1 });
  const inspectDeep = (error: unknown): string => inspect(error, { depth: 20, showHidden: true });
  // Like AWS, the response repeats the signed request, which contains the session token.
  const xml =
    '<AWSAccessKeyId>AKIASECRETID</AWSAccessKeyId><CanonicalRequest>x-amz-security-token:SECRETTOKEN</CanonicalRequest>';
  for (const fault of [
    { status: 403, code: 'SignatureDoesNotMatch', xml },
    { status: 503, code: 'SlowDown', xml },
    { resetResponseAt: 0 },
    { htmlStatus: 502 },
  ]) {
    proxy.fault = () => fault;
    for (const task of [() => store.get('a'), () => put(store, 'a', 'x'), () => store.delete('a')]) {
      const error = await t.throwsAsync(task, { name: 'HotblobError' });
      t.notRegex(inspectDeep(error), /SECRET/, inspect(fault));
    }
  }
  t.true(proxy.requests.some(({ headers }) => headers['x-amz-security-token'] === 'SECRETTOKEN'));
  await proxy.stop();
  t.notRegex(inspectDeep(await t.throwsAsync(store.get('a'))), /SECRET/);
});

test('reports a failure of the credentials provider', async (t) => {
  const { proxy } = await setup(t);
  const credentials = async () => {
    throw Object.assign(new Error('no such role'), { name: 'CredentialsProviderError' });
  };
  const store = await s3Store({ ...clientOptions(proxy), credentials, bucket: BUCKET });
  await t.throwsAsync(store.get('a'), { ...denied, message: /no such role/ });
  t.is(proxy.requests.length, 0);
  await store.close();
});
