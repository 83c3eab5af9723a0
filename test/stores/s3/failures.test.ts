import { inspect } from 'node:util';
import test from 'ava';
import { statusOf } from '../../../src/contract/errors.js';
import { s3Store } from '../../../src/stores/s3/index.js';
import { until } from '../../helpers/poll.js';
import { BUCKET } from '../../helpers/s3rver.js';
import { content, put, refusal } from '../fixture.js';
import { assertBytes, clientOptions, find, read, serviceFor } from './fixture.js';

const site = serviceFor(test);
const busy = refusal('ERR_HOTBLOB_OVERLOADED');
const denied = refusal('ERR_HOTBLOB_UPSTREAM_DENIED');

test('a service that is busy is asked again', async (t) => {
  const { store, wire } = await site(t);
  await put(store, 'a', content(1000));
  for (const code of ['SlowDown', 'ServiceUnavailable', 'InternalError']) {
    let busyTimes = 2;
    wire.fault = () => (busyTimes-- > 0 ? { answer: code === 'InternalError' ? 500 : 503, code } : undefined);
    wire.clear();
    assertBytes(t, await read(await find(store, 'a')), content(1000));
    t.is(wire.seen.length, 3);
  }
});

test('one that stays busy is a 503, after all attempts', async (t) => {
  const { store, wire } = await site(t, { maxAttempts: 2 });
  wire.fault = () => ({ answer: 503, code: 'SlowDown' });
  for (const task of [() => store.get('a'), () => put(store, 'a', 'x'), () => store.delete('a')]) {
    wire.clear();
    const error = await t.throwsAsync(task, { ...busy, message: /'cache' failed: S3 answered 503/ });
    t.is(statusOf(error), 503);
    t.is(wire.seen.length, 2);
  }
  const error = await t.throwsAsync(() => store.get('a'), busy);
  t.regex(error?.message ?? '', /503 SlowDown \(request REQUEST7\)/);
});

test('one that says nothing is a 504; one that is not there, or only its load balancer, a 502', async (t) => {
  const { store, wire } = await site(t, { maxAttempts: 2, requestTimeoutMs: 1000 });
  wire.fault = () => ({ ignore: true });
  await t.throwsAsync(store.get('a'), refusal('ERR_HOTBLOB_UPSTREAM_TIMEOUT', /1000 ms/));
  t.is(wire.seen.length, 2);
  await until('both were given up', () => wire.seen.every(({ isCutByClient }) => isCutByClient));

  wire.fault = () => ({ html: 502 });
  await t.throwsAsync(store.get('a'), refusal('ERR_HOTBLOB_UPSTREAM', /502/));

  await wire.stop();
  const error = await t.throwsAsync(store.get('a'), refusal('ERR_HOTBLOB_UPSTREAM', /ECONNREFUSED/));
  t.like(error?.cause, { code: 'ECONNREFUSED' });
});

test('access denied says what is needed, for a miss too', async (t) => {
  const { store, wire } = await site(t);
  wire.fault = () => ({ answer: 403, code: 'AccessDenied' });
  for (const task of [() => store.get('a'), () => put(store, 'a', 'x'), () => store.delete('a')]) {
    wire.clear();
    const error = await t.throwsAsync(task, { ...denied, message: /403.*access denied.*s3:ListBucket/ });
    t.is(statusOf(error), 502);
    t.is(wire.seen.length, 1);
  }
});

test('no secret is in an error, however deep one looks', async (t) => {
  const secrets = { accessKeyId: 'AKIASECRETID', secretAccessKey: 'SECRETKEY', sessionToken: 'SECRETTOKEN' };
  const { store, wire } = await site(t, { credentials: secrets, maxAttempts: 1 });
  const seen = (error: unknown): string => inspect(error, { depth: 20, showHidden: true });
  // As AWS does: what was signed comes back, the token with it.
  const xml =
    '<AWSAccessKeyId>AKIASECRETID</AWSAccessKeyId><CanonicalRequest>x-amz-security-token:SECRETTOKEN</CanonicalRequest>';
  for (const fault of [
    { answer: 403, code: 'SignatureDoesNotMatch', xml },
    { answer: 503, code: 'SlowDown', xml },
    { cutAnswerAt: 0 },
    { html: 502 },
  ]) {
    wire.fault = () => fault;
    for (const task of [() => store.get('a'), () => put(store, 'a', 'x'), () => store.delete('a')]) {
      const error = await t.throwsAsync(task, { name: 'HotblobError' });
      t.notRegex(seen(error), /SECRET/, inspect(fault));
    }
  }
  t.true(wire.seen.some(({ headers }) => headers['x-amz-security-token'] === 'SECRETTOKEN'));
  await wire.stop();
  t.notRegex(seen(await t.throwsAsync(store.get('a'))), /SECRET/);
});

test('a session without credentials says so', async (t) => {
  const { wire } = await site(t);
  const credentials = async () => {
    throw Object.assign(new Error('the role is not there'), { name: 'CredentialsProviderError' });
  };
  const store = await s3Store({ ...clientOptions(wire), credentials, bucket: BUCKET });
  await t.throwsAsync(store.get('a'), { ...denied, message: /the role is not there/ });
  t.is(wire.seen.length, 0);
  await store.close();
});
