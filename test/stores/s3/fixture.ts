import { createHash, randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { S3Client } from '@aws-sdk/client-s3';
import type { ExecutionContext, TestFn } from 'ava';
import type { StreamArtifact } from '../../../src/contract/artifact.js';
import type { S3Store, S3StoreOptions } from '../../../src/stores/s3/index.js';
import { s3Store } from '../../../src/stores/s3/index.js';
import { BUCKET, CREDENTIALS, S3rver } from '../../helpers/s3rver.js';
import { never } from '../fixture.js';
import { S3Proxy } from './s3-proxy.js';

export const KIB = 1024;
export const MIB = 1024 * KIB;
/** Smallest part size that S3 allows. */
export const PART = 5 * MIB;

/** Store that reaches the service through a proxy, with its own prefix in the bucket. */
export interface Setup {
  readonly store: S3Store;
  readonly proxy: S3Proxy;
  readonly prefix: string;
  /** Lists the keys of all objects with the prefix. */
  keys(): Promise<string[]>;
}

/** Starts the service for a test file. Returns a function that creates the setup of one test. */
export function setupFor(test: TestFn): (t: ExecutionContext, options?: Partial<S3StoreOptions>) => Promise<Setup> {
  let service: S3rver | undefined;
  test.before(async () => {
    service = await S3rver.start();
  });
  test.after.always(() => service?.stop());
  return async (t, options) => {
    if (service === undefined) throw new Error('the service has not been started');
    const { port } = service;
    const prefix = `test-${randomUUID()}`;
    const proxy = await S3Proxy.start(port);
    const store = await s3Store({ ...clientOptions(proxy), bucket: BUCKET, prefix, ...options });
    t.teardown(async () => {
      // Ends the requests of a failed test, which store.close() would wait for.
      proxy.fault = () => ({ status: 403 });
      await proxy.stop();
      await store.close();
    });
    const keys = async () => (await service?.names(`${prefix}/`))?.map((name) => name.slice(prefix.length + 1)) ?? [];
    return { store, proxy, prefix, keys };
  };
}

/** Creates a second store over the same objects and proxy. */
export async function createSecondStore(
  t: ExecutionContext,
  { proxy, prefix }: Setup,
  options: Partial<S3StoreOptions>,
): Promise<S3Store> {
  const ownClient = options.client === undefined ? clientOptions(proxy) : {};
  const store = await s3Store({ ...ownClient, bucket: BUCKET, prefix, ...options });
  t.teardown(() => store.close());
  return store;
}

/** Returns no `client` for `own`, so that the store creates one, or a client without timeouts for `given`. */
export function clientOption(
  t: ExecutionContext,
  owner: 'own' | 'given',
  { proxy }: Pick<Setup, 'proxy'>,
): { readonly client?: S3Client } {
  if (owner === 'own') return {};
  const client = new S3Client({ ...clientOptions(proxy), requestChecksumCalculation: 'WHEN_REQUIRED' });
  t.teardown(() => client.destroy());
  return { client };
}

/** Options for a client that reaches the service through the proxy. */
export function clientOptions({ endpoint }: Pick<S3Proxy, 'endpoint'>) {
  return { endpoint, region: 'us-east-1', credentials: CREDENTIALS, forcePathStyle: true };
}

/** Returns the artifact under a key. Throws for a miss. */
export async function getArtifact(store: S3Store, key: string): Promise<StreamArtifact> {
  const artifact = await store.get(key, { signal: never() });
  if (artifact === undefined) throw new Error(`${key} is a miss`);
  return artifact;
}

/** Reads an artifact, or its bytes from `start` to `end`. */
export async function read(artifact: StreamArtifact, start?: number, end?: number): Promise<Buffer> {
  const range = start === undefined || end === undefined ? undefined : { start, end };
  return collect(await artifact.open(range, { signal: never() }));
}

export async function collect(body: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Asserts that two buffers are equal, without printing their bytes. */
export function assertBytes(t: ExecutionContext, bytes: Buffer, expected: Buffer): void {
  t.true(bytes.equals(expected), `${bytes.byteLength} bytes differ from the expected ${expected.byteLength}`);
}

/** Returns the entity tag that S3 gives to an object that was stored in one request. */
export function md5Tag(bytes: Buffer): string {
  return `"${createHash('md5').update(bytes).digest('hex')}"`;
}

/** Returns a promise and the function that resolves it. */
export function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
