import { createHash, randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { S3Client } from '@aws-sdk/client-s3';
import type { ExecutionContext, TestFn } from 'ava';
import type { StreamArtifact } from '../../../src/contract/artifact.js';
import type { S3Store, S3StoreOptions } from '../../../src/stores/s3/index.js';
import { s3Store } from '../../../src/stores/s3/index.js';
import { BUCKET, CREDENTIALS, S3rver } from '../../helpers/s3rver.js';
import { never } from '../fixture.js';
import { Wire } from './wire.js';

export const KIB = 1024;
export const MIB = 1024 * KIB;
/** The smallest that S3 allows. */
export const PART = 5 * MIB;

/** A store over the service, with a wire between them and a part of the bucket for itself. */
export interface Site {
  readonly store: S3Store;
  readonly wire: Wire;
  readonly prefix: string;
  /** The keys under which there is something. */
  keys(): Promise<string[]>;
}

/** Starts the service for a file of tests. Returns what makes a site for one of them. */
export function serviceFor(test: TestFn): (t: ExecutionContext, options?: Partial<S3StoreOptions>) => Promise<Site> {
  let service: S3rver | undefined;
  test.before(async () => {
    service = await S3rver.start();
  });
  test.after.always(() => service?.stop());
  return async (t, options) => {
    if (service === undefined) throw new Error('the service has not been started');
    const { port } = service;
    const prefix = `test-${randomUUID()}`;
    const wire = await Wire.start(port);
    const store = await s3Store({ ...clientOptions(wire), bucket: BUCKET, prefix, ...options });
    t.teardown(async () => {
      // What a test that failed has left would keep the store waiting.
      wire.fault = () => ({ answer: 403 });
      await wire.stop();
      await store.close();
    });
    const keys = async () => (await service?.names(`${prefix}/`))?.map((name) => name.slice(prefix.length + 1)) ?? [];
    return { store, wire, prefix, keys };
  };
}

/** Another store over the same objects, by the same wire. */
export async function another(t: ExecutionContext, site: Site, options: Partial<S3StoreOptions>): Promise<S3Store> {
  const { wire, prefix } = site;
  const own = options.client === undefined ? clientOptions(wire) : {};
  const store = await s3Store({ ...own, bucket: BUCKET, prefix, ...options });
  t.teardown(() => store.close());
  return store;
}

/** No client, so that the store makes its own, or one that knows no timeouts. */
export function clientOf(
  t: ExecutionContext,
  whose: 'own' | 'given',
  { wire }: Pick<Site, 'wire'>,
): { readonly client?: S3Client } {
  if (whose === 'own') return {};
  const client = new S3Client({ ...clientOptions(wire), requestChecksumCalculation: 'WHEN_REQUIRED' });
  t.teardown(() => client.destroy());
  return { client };
}

/** How a client reaches the service, when the store makes it. */
export function clientOptions({ endpoint }: Pick<Wire, 'endpoint'>) {
  return { endpoint, region: 'us-east-1', credentials: CREDENTIALS, forcePathStyle: true };
}

/** The artifact under a key, which must be there. */
export async function find(store: S3Store, key: string): Promise<StreamArtifact> {
  const artifact = await store.get(key, { signal: never() });
  if (artifact === undefined) throw new Error(`there is nothing under ${key}`);
  return artifact;
}

/** The whole of an artifact, or its bytes from `start` to `end`. */
export async function read(artifact: StreamArtifact, start?: number, end?: number): Promise<Buffer> {
  const range = start === undefined || end === undefined ? undefined : { start, end };
  return bytesOf(await artifact.open(range, { signal: never() }));
}

export async function bytesOf(body: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Asserts that bytes are the expected ones, without a page of them where they are not. */
export function assertBytes(t: ExecutionContext, bytes: Buffer, expected: Buffer): void {
  t.true(bytes.equals(expected), `${bytes.byteLength} bytes, expected other ${expected.byteLength}`);
}

/** What S3 calls an object that went up in one request. */
export function md5Tag(bytes: Buffer): string {
  return `"${createHash('md5').update(bytes).digest('hex')}"`;
}

/** A promise that a test resolves when it likes. */
export function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
