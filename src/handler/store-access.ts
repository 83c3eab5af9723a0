import type { Readable } from 'node:stream';
import type { FileArtifact, StreamArtifact, UploadMetadata } from '../contract/artifact.js';
import { HotblobError } from '../contract/errors.js';
import type { Exchange } from '../contract/exchange.js';
import type { PutOptions, PutResult } from '../contract/store.js';
import type { Representation } from '../http/headers.js';
import type { OpenFiles } from '../page-cache/open-files.js';
import type { MountedProtocols } from '../protocols/mounted.js';
import type { ArtifactDescription, Protocol, ProtocolArtifacts, ScopeArtifacts } from '../protocols/protocol.js';
import { BodiesInMemory, type BodyInMemory } from './bodies-in-memory.js';
import type { Download } from './download.js';
import type { UploadLimits } from './options.js';
import { type PutOnceResult, putOnce } from './put-once.js';
import { RequestSignal } from './request-signal.js';
import type { ResponseRecord } from './response-record.js';
import { assertNoContentCoding, expectedBody, uploadBody } from './upload-body.js';
import { UploadSlots } from './upload-slots.js';
import type { ReadableArtifacts, View } from './view.js';

/** Access to the store for all operations except sending an artifact. Keys include the prefix of the protocol. */
export class StoreAccess {
  readonly #openFiles: OpenFiles;
  readonly #uploads: UploadSlots;
  readonly #download: Download;
  readonly #bodies = new BodiesInMemory();

  constructor(openFiles: OpenFiles, download: Download) {
    this.#uploads = new UploadSlots(openFiles);
    this.#openFiles = openFiles;
    this.#download = download;
  }

  /**
   * Returns the representation of an artifact, or undefined for a miss.
   *
   * @param store part of a {@link View}
   */
  async describe(exchange: Exchange, store: ReadableArtifacts, key: string): Promise<Representation | undefined> {
    const call = new RequestSignal(exchange);
    try {
      const artifact = await store.get(key, call);
      return artifact && (await this.#download.describe(artifact));
    } finally {
      // Without this, a remote store keeps a connection for each description until the request ends.
      call.abort();
    }
  }

  /** Returns the first `maxBytes` bytes of an artifact, or all of it if it is shorter. Returns undefined for a miss. */
  async read(exchange: Exchange, store: ReadableArtifacts, key: string, maxBytes: number): Promise<Buffer | undefined> {
    const options = new RequestSignal(exchange);
    const artifact = await store.get(key, options);
    if (artifact === undefined) return undefined;
    if (artifact.kind === 'bytes') return Buffer.from(artifact.bytes.subarray(0, maxBytes));
    if (artifact.kind === 'stream') return readStream(artifact, maxBytes, options);
    const bytes = await this.#readFile(artifact, maxBytes);
    if (bytes !== undefined) return bytes;
    // The file no longer exists, but the store may have moved the artifact to another file.
    const moved = await store.get(key, options);
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
        if (count === 0) {
          const message = `${file.path}: expected ${length} bytes at offset ${offset}, received ${filled}`;
          throw new HotblobError('ERR_HOTBLOB_TRUNCATED', message);
        }
        filled += count;
      }
      return bytes;
    } finally {
      file.release();
    }
  }

  /**
   * Stores `body` in the own scope of a view, and destroys its stream. Downloads that start later get the new artifact.
   *
   * @param isOnce whether an artifact under the key is kept, also if the view lets uploads replace artifacts
   */
  async put(
    exchange: Exchange,
    view: View,
    key: string,
    body: Readable,
    options: Omit<PutOptions, 'signal'>,
    isOnce = false,
  ): Promise<PutOnceResult> {
    const { own, overwrite, subject } = view;
    const { signal } = new RequestSignal(exchange);
    const metadata = subject === undefined ? options.metadata : { ...options.metadata, subject };
    const putOptions = { ...options, metadata, signal };
    return this.receive(exchange, body, async (received) => {
      const { put } = own;
      if (put === undefined) throw readOnlyError();
      // A client with `If-None-Match: *` wants to know that the key has an artifact.
      if (options.ifAbsent || (overwrite && !isOnce)) {
        return { ...assertResult(await put.call(own, key, received, putOptions)), wasKept: false };
      }
      const find = () => this.describe(exchange, own, key);
      const store = async (once: PutOptions) => assertResult(await put.call(own, key, received, once));
      return putOnce(store, find, received, putOptions);
    });
  }

  /** Reads `body` into memory, under the limits of {@link BodiesInMemory}. */
  readBody(exchange: Exchange, body: Readable): Promise<BodyInMemory> {
    return this.#bodies.read(exchange, body);
  }

  /** Runs `write`, which stores the stream that it is given, under the limits of {@link UploadSlots}. Destroys `body`. */
  async receive<T>(exchange: Exchange, body: Readable, write: (body: Readable) => Promise<T>): Promise<T> {
    try {
      return await this.#uploads.run(exchange, body, write);
    } finally {
      body.destroy();
    }
  }

  /**
   * Deletes an artifact in the own scope of a view. Resolves to whether there was one.
   *
   * @throws HotblobError `ERR_HOTBLOB_WRITE_ONCE` if the client may not replace artifacts: it could delete one and upload another
   */
  async delete({ own, overwrite }: View, key: string): Promise<boolean> {
    if (own.delete === undefined) throw readOnlyError();
    if (overwrite) return own.delete(key);
    const message = 'DELETE: expected a client that may replace artifacts (overwrite), received one that may not';
    throw new HotblobError('ERR_HOTBLOB_WRITE_ONCE', message);
  }
}

function assertResult(result: PutResult): PutResult {
  if (typeof result === 'object' && result !== null) return result;
  throw new HotblobError('ERR_HOTBLOB_INVALID_STORE', `store.put: expected { created, etag }, received ${result}`);
}

/** Access to the store for the protocol that handles a request. Keys do not include the prefix of the protocol. */
export class ProtocolStoreAccess implements ProtocolArtifacts {
  readonly #record: ResponseRecord;
  readonly #exchange: Exchange;
  readonly #access: StoreAccess;
  readonly #view: View;
  readonly #protocol: Protocol | undefined;
  readonly #protocols: MountedProtocols;
  readonly #limits: UploadLimits;
  readonly #signal: RequestSignal;
  #body: Readable | undefined;
  #bodyInMemory: BodyInMemory | undefined;

  constructor(record: ResponseRecord, access: StoreAccess, protocols: MountedProtocols, limits: UploadLimits) {
    this.#record = record;
    this.#exchange = record.exchange;
    this.#access = access;
    this.#view = record.view;
    this.#protocol = record.protocol;
    this.#protocols = protocols;
    this.#limits = limits;
    this.#signal = new RequestSignal(record.exchange);
  }

  get view(): string {
    return this.#view.name;
  }

  get scopes(): readonly ScopeArtifacts[] {
    return this.#view.scopes.map(({ name, artifacts }) => this.#scope(name, artifacts));
  }

  get own(): ScopeArtifacts {
    return this.#scope(this.#view.ownScope, this.#view.own);
  }

  get overwrite(): boolean {
    return this.#view.overwrite;
  }

  #scope(scope: string, artifacts: ReadableArtifacts): ScopeArtifacts {
    return {
      scope,
      describe: (key) => this.#describe(artifacts, key),
      read: (key, maxBytes) => this.#access.read(this.#exchange, artifacts, this.storeKey(key), maxBytes),
    };
  }

  get signal(): AbortSignal {
    return this.#signal.signal;
  }

  /** Body that the protocol has read into memory. Its place is free when the handler releases it. */
  get bodyInMemory(): BodyInMemory | undefined {
    return this.#bodyInMemory;
  }

  /** Whether the protocol has read the request body to its end. */
  get hasReadBody(): boolean {
    return this.#body?.readableEnded === true;
  }

  /** Returns the key in the store: `key` with the prefix of the protocol. Throws for an invalid key. */
  storeKey(key: string): string {
    return this.#protocol === undefined ? key : this.#protocols.storeKey(this.#protocol, key);
  }

  async describe(key: string): Promise<ArtifactDescription | undefined> {
    return this.#describe(this.#view.readable, key);
  }

  async #describe(artifacts: ReadableArtifacts, key: string): Promise<ArtifactDescription | undefined> {
    const representation = await this.#access.describe(this.#exchange, artifacts, this.storeKey(key));
    if (representation === undefined) return undefined;
    const { size, etag, lastModified, metadata } = representation;
    return { size, etag, lastModified: lastModified && new Date(lastModified.seconds * 1000), metadata };
  }

  async read(key: string, maxBytes: number): Promise<Buffer | undefined> {
    return this.#access.read(this.#exchange, this.#view.readable, this.storeKey(key), maxBytes);
  }

  async put(key: string, body: Readable, metadata?: UploadMetadata): Promise<PutOnceResult> {
    return this.#access.put(this.#exchange, this.#view, this.storeKey(key), body, { metadata });
  }

  async delete(key: string): Promise<boolean> {
    return this.#access.delete(this.#view, this.storeKey(key));
  }

  async receive<T>(maxBytes: number, write: (body: Readable) => Promise<T>): Promise<T> {
    const body = this.body(maxBytes);
    return this.#access.receive(this.#exchange, body, write);
  }

  async readBody(maxBytes: number): Promise<Buffer> {
    this.#bodyInMemory = await this.#access.readBody(this.#exchange, this.body(maxBytes));
    return this.#bodyInMemory.bytes;
  }

  body(maxBytes: number): Readable {
    assertNoContentCoding(this.#exchange);
    const expected = expectedBody(this.#exchange, Math.min(maxBytes, this.#limits.maxUploadBytes));
    this.#body = uploadBody(this.#exchange, expected, this.#limits, this.#record);
    return this.#body;
  }
}

export function readOnlyError(): HotblobError {
  return new HotblobError('ERR_HOTBLOB_READ_ONLY', 'the store is read-only: it has no put() or delete()');
}

/** Asks the store for no more than `maxBytes` bytes, and keeps no more, however large a chunk is. */
async function readStream(artifact: StreamArtifact, maxBytes: number, options: RequestSignal): Promise<Buffer> {
  const { size } = artifact;
  const end = Math.min(size ?? maxBytes, maxBytes);
  if (end === 0) return Buffer.alloc(0);
  const stream = await artifact.open(size === undefined ? undefined : { start: 0, end }, options);
  const chunks: Buffer[] = [];
  let bytes = 0;
  // A `break` or `return` in this loop destroys the stream.
  for await (const chunk of stream) {
    // A stream without `objectMode` may still contain strings.
    const data: Uint8Array = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    const part = Buffer.from(data.subarray(0, end - bytes));
    chunks.push(part);
    bytes += part.byteLength;
    if (bytes === end) break;
  }
  if (size !== undefined && bytes < end) {
    throw new HotblobError('ERR_HOTBLOB_TRUNCATED', `stream of an artifact: expected ${end} bytes, received ${bytes}`);
  }
  return Buffer.concat(chunks);
}
