import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { UploadMetadata } from '../../../src/contract/artifact.js';
import { encodeMetadata } from '../../../src/contract/upload-metadata.js';
import { MetadataLookups } from '../../../src/stores/directory/lookups.js';
import { type BodyIdentity, Sidecars } from '../../../src/stores/directory/metadata.js';
import { temporaryDirectory } from '../fixture.js';

const OLD = { headers: { tag: 'old' } };
const NEW = { headers: { tag: 'new' } };

/** What says when it has been read, and waits until it is told to go on. */
class WaitingSidecars extends Sidecars {
  waiting: (() => void)[] = [];
  #onRead = (): void => {};

  override async read(key: string, body: BodyIdentity): Promise<UploadMetadata | undefined> {
    const metadata = await super.read(key, body);
    await new Promise<void>((resolve) => {
      this.waiting.push(resolve);
      this.#onRead();
    });
    return metadata;
  }

  async hasRead(): Promise<void> {
    if (this.waiting.length > 0) return;
    await new Promise<void>((resolve) => {
      this.#onRead = resolve;
    });
  }

  goOn(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
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

test('a look that has begun before an overwrite is not remembered after it', async (t) => {
  const root = await rootOf(t);
  const sidecars = new WaitingSidecars(root);
  const path = join(root, 'key');
  await place(sidecars, path, 'old', OLD);
  const lookups = new MetadataLookups(sidecars, true);
  const before = lookups.get('key', path);
  await sidecars.hasRead();
  await place(sidecars, path, 'new', NEW);
  lookups.expire('key');
  sidecars.goOn();
  t.deepEqual(await before, OLD, 'who has asked before may be answered so');
  const after = lookups.get('key', path);
  t.true(after instanceof Promise);
  await sidecars.hasRead();
  sidecars.goOn();
  t.deepEqual(await after, NEW);
  t.deepEqual(lookups.get('key', path), NEW, 'and remembered');
});

test('many who ask at the same time cost one look', async (t) => {
  const root = await rootOf(t);
  const sidecars = new WaitingSidecars(root);
  const path = join(root, 'key');
  await place(sidecars, path, 'old', OLD);
  const lookups = new MetadataLookups(sidecars, true);
  const all = Array.from({ length: 50 }, () => lookups.get('key', path));
  await sidecars.hasRead();
  t.is(sidecars.waiting.length, 1);
  sidecars.goOn();
  t.deepEqual(
    await Promise.all(all),
    Array.from({ length: 50 }, () => OLD),
  );
});

/** What counts how often it is read. */
class CountingSidecars extends Sidecars {
  readonly reads = new Map<string, number>();

  override read(key: string, body: BodyIdentity): Promise<UploadMetadata | undefined> {
    this.reads.set(key, (this.reads.get(key) ?? 0) + 1);
    return super.read(key, body);
  }
}

test('what is remembered is bounded, and what was used longest ago goes first', async (t) => {
  const root = await rootOf(t);
  const path = join(root, 'key');
  await writeFile(path, 'x');
  const sidecars = new CountingSidecars(root);
  const lookups = new MetadataLookups(sidecars, true);
  // 2,400 bytes each: 3,500 of them are too many. One file will do for all.
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
