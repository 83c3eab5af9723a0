import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { UploadMetadata } from '../../../src/contract/artifact.js';
import { encodeMetadata } from '../../../src/contract/upload-metadata.js';
import { MetadataLookups } from '../../../src/stores/directory/lookups.js';
import { type BodyIdentity, Sidecars } from '../../../src/stores/directory/metadata.js';
import { PRIVATE } from '../../../src/util/permissions.js';
import { temporaryDirectory } from '../fixture.js';

const OLD = { headers: { 'x-artifact-tag': 'old' } };
const NEW = { headers: { 'x-artifact-tag': 'new' } };

/** Sidecars whose reads stay in flight until `finishReads` is called. */
class PausedSidecars extends Sidecars {
  pending: (() => void)[] = [];
  #onRead = (): void => {};

  override async read(key: string, body: BodyIdentity): Promise<UploadMetadata | undefined> {
    const metadata = await super.read(key, body);
    await new Promise<void>((resolve) => {
      this.pending.push(resolve);
      this.#onRead();
    });
    return metadata;
  }

  async readStarted(): Promise<void> {
    if (this.pending.length > 0) return;
    await new Promise<void>((resolve) => {
      this.#onRead = resolve;
    });
  }

  finishReads(): void {
    for (const resolve of this.pending.splice(0)) resolve();
  }
}

async function place(sidecars: Sidecars, path: string, text: string, metadata: UploadMetadata): Promise<void> {
  await writeFile(`${path}.new`, text);
  await sidecars.write('key', await stat(`${path}.new`, { bigint: true }), encodeMetadata(metadata) ?? Buffer.of());
  await rename(`${path}.new`, path);
}

async function rootOf(t: ExecutionContext): Promise<string> {
  const root = await temporaryDirectory(t);
  await mkdir(join(root, '.hotblob'));
  return root;
}

test('a read that started before an overwrite is not cached after it', async (t) => {
  const root = await rootOf(t);
  const sidecars = new PausedSidecars(root, true, PRIVATE);
  const path = join(root, 'key');
  await place(sidecars, path, 'old', OLD);
  const lookups = new MetadataLookups(`${root}/`, sidecars, true);
  const before = lookups.get('key', path);
  await sidecars.readStarted();
  await place(sidecars, path, 'new', NEW);
  lookups.expire('key');
  sidecars.finishReads();
  t.deepEqual(await before, OLD, 'the lookup that started before may return the old metadata');
  const after = lookups.get('key', path);
  t.true(after instanceof Promise);
  await sidecars.readStarted();
  sidecars.finishReads();
  t.deepEqual(await after, NEW);
  t.deepEqual(lookups.get('key', path), NEW, 'the new metadata is cached');
});

test('concurrent lookups of a key share one read', async (t) => {
  const root = await rootOf(t);
  const sidecars = new PausedSidecars(root, true, PRIVATE);
  const path = join(root, 'key');
  await place(sidecars, path, 'old', OLD);
  const lookups = new MetadataLookups(`${root}/`, sidecars, true);
  const all = Array.from({ length: 50 }, () => lookups.get('key', path));
  await sidecars.readStarted();
  t.is(sidecars.pending.length, 1);
  sidecars.finishReads();
  t.deepEqual(
    await Promise.all(all),
    Array.from({ length: 50 }, () => OLD),
  );
});

/** Sidecars that count the reads of each key. */
class CountingSidecars extends Sidecars {
  readonly reads = new Map<string, number>();

  override read(key: string, body: BodyIdentity): Promise<UploadMetadata | undefined> {
    this.reads.set(key, (this.reads.get(key) ?? 0) + 1);
    return super.read(key, body);
  }
}

test('the cache is bounded and evicts the least recently used entry', async (t) => {
  const root = await rootOf(t);
  const path = join(root, 'key');
  await writeFile(path, 'x');
  const sidecars = new CountingSidecars(root, true, PRIVATE);
  const lookups = new MetadataLookups(`${root}/`, sidecars, true);
  // Each entry takes 2,400 bytes, so 3,500 exceed the cache. All keys share one file.
  const keys = Array.from({ length: 4000 }, (_, index) => `${index}`.padEnd(1000, '-'));
  const [used = '', unused = ''] = keys;
  for (let start = 0; start < keys.length; start += 100) {
    await Promise.all(keys.slice(start, start + 100).map((key) => lookups.get(key, path)));
    await lookups.get(used, path);
  }
  const last = keys.at(-1) ?? '';
  for (const key of [used, unused, last]) await lookups.get(key, path);
  t.deepEqual(
    [used, unused, last].map((key) => sidecars.reads.get(key)),
    [1, 2, 1],
  );
});
