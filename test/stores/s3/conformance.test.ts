import { randomUUID } from 'node:crypto';
import test from 'ava';
import { type S3Store, s3Store } from '../../../src/stores/s3/index.js';
import { storeConformance } from '../../../src/testing/index.js';
import { BUCKET, S3rver } from '../../helpers/s3rver.js';
import { clientOptions, PART } from './fixture.js';
import { Wire } from './wire.js';

const service = await S3rver.start();
const wire = await Wire.start(service.port);
test.after.always(async () => {
  await wire.stop();
  await service.stop();
});

// Where s3rver is not like S3: it writes objects in place, and cannot have names that its file system cannot.
wire.isAtomic = true;
wire.fault = ({ what, key }) => {
  if (key.split('/').every((segment) => Buffer.byteLength(segment) < 200)) return undefined;
  return what === 'PUT' ? { answer: 400, code: 'KeyTooLongError' } : { answer: 404, code: 'NoSuchKey' };
};

const prefixes = new WeakMap<S3Store, string>();

async function createStore(): Promise<S3Store> {
  const prefix = `conformance-${randomUUID()}`;
  const store = await s3Store({ ...clientOptions(wire), bucket: BUCKET, prefix, partBytes: PART });
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
storeConformance({ ...options, name: 'in parts', largeBytes: 2 * PART + 13 });
