import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Artifact, BytesArtifact, FileArtifact, StreamArtifact } from '../../src/contract/artifact.js';
import { HotblobError } from '../../src/contract/errors.js';
import type { GetOptions, PutOptions, PutResult, ReadWriteStore, Store } from '../../src/contract/store.js';
import { chunksOf } from '../../src/stores/body.js';
import type { StoreConformanceOptions } from '../../src/testing/index.js';

/** Store with a fault, and the titles of exactly the checks that must fail. */
export interface BrokenStore {
  readonly fails: readonly string[] | 'every check';
  readonly create: (directory: string) => Store;
  readonly options?: Partial<StoreConformanceOptions>;
}

/** Option `largeBytes` of the suite. A fault that affects only large artifacts fails fewer checks. */
export const LARGE_BYTES = 300_000;

export function isLarge(bytes: Uint8Array): boolean {
  return bytes.byteLength >= LARGE_BYTES;
}

/** Correct store in memory. Its methods are small, so that a subclass can break a single one. */
export class PlainStore implements ReadWriteStore {
  protected readonly artifacts = new Map<string, Buffer>();

  get(key: string, _options: GetOptions): Artifact | undefined | Promise<Artifact | undefined> {
    const bytes = this.artifacts.get(key);
    return bytes && this.artifactOf(bytes, key);
  }

  async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
    const bytes = await this.receive(body, options, key);
    const created = !this.artifacts.has(key);
    if (options.ifAbsent && !created) throw new HotblobError('ERR_HOTBLOB_EXISTS', 'the key has an artifact');
    this.keep(key, bytes);
    return { created, etag: etagOf(bytes) };
  }

  async delete(key: string): Promise<boolean> {
    return this.artifacts.delete(key);
  }

  async close(): Promise<void> {}

  protected artifactOf(bytes: Buffer, _key: string): Artifact {
    return { kind: 'bytes', bytes, etag: etagOf(bytes) };
  }

  protected async receive(body: Readable, options: PutOptions, _key: string): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of chunksOf(body, options, Number.POSITIVE_INFINITY)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  protected keep(key: string, bytes: Buffer): void {
    this.artifacts.set(key, bytes);
  }
}

/** Correct store that returns streams. */
export class PlainStreamStore extends PlainStore {
  override get(key: string): StreamArtifact | undefined {
    const bytes = this.artifacts.get(key);
    return bytes && this.streamOf(bytes, key);
  }

  protected streamOf(bytes: Buffer, _key: string): StreamArtifact {
    return {
      kind: 'stream',
      etag: etagOf(bytes),
      size: bytes.byteLength,
      open: (range) => readableOf(bytes.subarray(range?.start, range?.end)),
    };
  }
}

/** Correct store that returns files and replaces them by rename. */
export class PlainFileStore implements ReadWriteStore {
  protected readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
    mkdirSync(directory, { recursive: true });
  }

  get(key: string): FileArtifact | Promise<FileArtifact> {
    return { kind: 'file', path: this.pathOf(key), immutable: true };
  }

  async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
    const temporary = join(this.directory, randomUUID());
    try {
      await writeFile(temporary, '');
      const chunks: Uint8Array[] = [];
      for await (const chunk of chunksOf(body, options, Number.POSITIVE_INFINITY)) chunks.push(chunk);
      await writeFile(temporary, Buffer.concat(chunks));
      options.signal.throwIfAborted();
      const created = await stat(this.pathOf(key)).then(
        () => false,
        () => true,
      );
      await this.place(temporary, this.pathOf(key), Buffer.concat(chunks));
      return { created };
    } catch (error) {
      await this.clean(temporary);
      throw error;
    }
  }

  async delete(key: string): Promise<boolean> {
    return unlink(this.pathOf(key)).then(
      () => true,
      () => false,
    );
  }

  async close(): Promise<void> {}

  protected pathOf(key: string): string {
    return join(this.directory, createHash('sha256').update(key).digest('hex'));
  }

  protected async place(temporary: string, path: string, _bytes: Buffer): Promise<void> {
    await rename(temporary, path);
  }

  protected async clean(temporary: string): Promise<void> {
    await rm(temporary, { force: true });
  }
}

/** Returns a strong entity tag. */
export function etagOf(bytes: BytesArtifact['bytes']): string {
  return `"${createHash('sha256').update(bytes).digest('hex')}"`;
}

/** Returns a stream of `bytes` in chunks of 20,000. */
export function readableOf(bytes: Buffer): Readable {
  let position = 0;
  return new Readable({
    read() {
      const start = position;
      position += 20_000;
      this.push(start < bytes.byteLength ? bytes.subarray(start, position) : null);
    },
  });
}

/** Resolves in the next turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
