import { randomUUID } from 'node:crypto';
import test from 'ava';
import { type S3Store, s3Store } from '../../../src/stores/s3/index.js';
import { storeConformance } from '../../../src/testing/index.js';
import { BUCKET, S3rver } from '../../helpers/s3rver.js';
import { clientOptions, PART } from './fixture.js';
import { S3Proxy } from './s3-proxy.js';

const service = await S3rver.start();
const proxy = await S3Proxy.start(service.port);
test.after.always(async () => {
  await proxy.stop();
  await service.stop();
});

// s3rver differs from S3: it writes objects in place, and its file system limits the length of names.
proxy.isAtomic = true;
proxy.fault = ({ operation, key }) => {
  if (key.split('/').every((segment) => Buffer.byteLength(segment) < 200)) return undefined;
  return operation === 'PUT' ? { status: 400, code: 'KeyTooLongError' } : { status: 404, code: 'NoSuchKey' };
};

const prefixes = new WeakMap<S3Store, string>();

async function createStore(): Promise<S3Store> {
  const prefix = `conformance-${randomUUID()}`;
  const store = await s3Store({ ...clientOptions(proxy), bucket: BUCKET, prefix, partBytes: PART });
  prefixes.set(store, prefix);
  return store;
}

const options = {
  test,
  createStore,
  capabilities: { metadata: true },
  inventory: (store: S3Store) => service.names(`${prefixes.get(store)}/`),
};

storeConformance({ ...options, name: 'one request' });
storeConformance({ ...options, name: 'multipart', largeBytes: 2 * PART + 13 });
