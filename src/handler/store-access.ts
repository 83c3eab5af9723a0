import type { Readable } from 'node:stream';
import type { FileArtifact, UploadMetadata } from '../contract/artifact.js';
import { HotblobError } from '../contract/errors.js';
import type { Exchange } from '../contract/exchange.js';
import type { PutResult, Store } from '../contract/store.js';
import type { Representation } from '../http/headers.js';
import type { OpenFiles } from '../page-cache/open-files.js';
import type { Download } from './download.js';
import { RequestSignal } from './request-signal.js';

/** What changes artifacts, and what looks at them without sending them. Keys are those of the store. */
export class Artifacts {
  readonly #store: Store;
  readonly #openFiles: OpenFiles;
  readonly #download: Download;

  constructor(store: Store, openFiles: OpenFiles, download: Download) {
    this.#store = store;
    this.#openFiles = openFiles;
    this.#download = download;
  }

  /** What is under `key`, as a client would see it; undefined for a miss. */
  async describe(exchange: Exchange, key: string): Promise<Representation | undefined> {
    const artifact = await this.#store.get(key, new RequestSignal(exchange));
    return artifact && this.#download.describe(artifact);
  }

  /** The first `maxBytes` bytes of what is under `key`, or all; undefined for a miss. */
  async read(exchange: Exchange, key: string, maxBytes: number): Promise<Buffer | undefined> {
    const options = new RequestSignal(exchange);
    const artifact = await this.#store.get(key, options);
    if (artifact === undefined) return undefined;
    if (artifact.kind === 'bytes') return Buffer.from(artifact.bytes.subarray(0, maxBytes));
    if (artifact.kind === 'stream') return firstBytes(await artifact.open(undefined, options), maxBytes);
    const bytes = await this.#readFile(artifact, maxBytes);
    if (bytes !== undefined) return bytes;
    // Its file has gone, but it may have moved on to another.
    const moved = await this.#store.get(key, options);
    if (moved?.kind !== 'file' || moved.path === artifact.path) return undefined;
    return this.#readFile(moved, maxBytes);
  }

  async #readFile(artifact: FileArtifact, maxBytes: number): Promise<Buffer | undefined> {
    const file = await this.#openFiles.acquire(artifact);
    if (file === undefined) return undefined;
    try {
      const { offset = 0, length = file.size - offset } = artifact;
      const bytes = Buffer.alloc(Math.min(length, maxBytes));
      let filled = 0;
      while (filled < bytes.byteLength) {
        const count = await file.read(bytes.subarray(filled), bytes.byteLength - filled, offset + filled);
        if (count === 0) throw new HotblobError('ERR_HOTBLOB_TRUNCATED', `the file ends too early: ${file.path}`);
        filled += count;
      }
      return bytes;
    } finally {
      file.leave();
    }
  }

  /** Keeps `body`, and ends its stream. From then on the upload is what clients get. */
  async put(exchange: Exchange, key: string, body: Readable, what: What): Promise<PutResult> {
    const { signal } = new RequestSignal(exchange);
    try {
      if (this.#store.put === undefined) throw new HotblobError('ERR_HOTBLOB_READ_ONLY', 'the store takes no uploads');
      const result = await this.#store.put(key, body, { signal, ...what });
      // What is open for its key is no longer what the store has.
      this.#expire(await this.#store.get(key, { signal }));
      return result;
    } finally {
      body.destroy();
    }
  }

  /** Deletes what is under `key`. Resolves to whether there was something. */
  async delete(exchange: Exchange, key: string): Promise<boolean> {
    if (this.#store.delete === undefined) throw new HotblobError('ERR_HOTBLOB_READ_ONLY', 'the store deletes nothing');
    const artifact = await this.#store.get(key, new RequestSignal(exchange));
    const isDeleted = await this.#store.delete(key);
    this.#expire(artifact);
    return isDeleted;
  }

  #expire(artifact: Awaited<ReturnType<Store['get']>>): void {
    if (artifact?.kind !== 'file') return;
    // A region of a file that is only appended to is what it was.
    if (artifact.immutable === true && artifact.offset !== undefined) return;
    this.#openFiles.expire(artifact.path);
  }
}

interface What {
  readonly size?: number | undefined;
  readonly metadata?: UploadMetadata | undefined;
}

async function firstBytes(stream: Readable, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Leaving the loop ends the stream.
  for await (const chunk of stream) {
    chunks.push(Buffer.from(chunk));
    bytes += chunk.byteLength;
    if (bytes >= maxBytes) break;
  }
  return Buffer.concat(chunks).subarray(0, maxBytes);
}
