import type { Readable } from 'node:stream';
import type { CompletedPart } from '@aws-sdk/client-s3';
import debug from 'debug';
import type { PutOptions, PutResult } from '../../contract/store.js';
import { normalizeMetadata } from '../../contract/upload-metadata.js';
import type { Bucket } from './bucket.js';
import { descriptionOf, type ObjectDescription } from './metadata.js';
import { type Part, partsOf, type UploadLimits } from './parts.js';

/** Parts of one upload on their way at a time, while the next one is being filled. */
const PARTS_IN_FLIGHT = 2;

const log = debug('hotblob:s3');

/**
 * Turns a body into an object: in one request up to the size of a part, else in parts. Wholly or not at all: what fails
 * before the last request leaves nothing. That one is not given up once it has begun, whatever the signal says: whether it
 * had still counted could not be known.
 *
 * It does without `Upload` of @aws-sdk/lib-storage, which lets parts on their way go on when it is aborted, fails before
 * they are deleted, and where their deletion fails too says that instead of what was wrong.
 *
 * @throws HotblobError as {@link partsOf} and {@link normalizeMetadata}; else what the body, the signal or the bucket says
 */
export async function upload(
  bucket: Bucket,
  key: string,
  body: Readable,
  { signal, size, metadata }: PutOptions,
  limits: UploadLimits,
): Promise<PutResult> {
  const description = descriptionOf(normalizeMetadata(metadata));
  const failure = new AbortController();
  const either = AbortSignal.any([signal, failure.signal]);
  // Asked while the body comes in, so that it takes no time of its own.
  const existing = bucket.head(key, either);
  existing.catch((error: unknown) => failure.abort(error));
  const wasFree = async (): Promise<boolean> => {
    const found = await existing;
    either.throwIfAborted();
    return found === undefined;
  };
  const multipart = new MultipartUpload(bucket, key, description, failure, either);
  try {
    for await (const part of partsOf(body, { signal: either, size }, limits)) {
      if (part.isLast && !multipart.isBegun) {
        try {
          return { created: await wasFree(), etag: await bucket.put(key, part, description) };
        } finally {
          part.release();
        }
      }
      await multipart.add(part);
    }
    await multipart.settle();
    return { created: await wasFree(), etag: await multipart.complete() };
  } catch (error) {
    // Ends the request for what exists, and the parts on their way.
    failure.abort(error);
    await multipart.abort();
    throw error;
  }
}

class MultipartUpload {
  readonly #bucket: Bucket;
  readonly #key: string;
  readonly #description: ObjectDescription;
  readonly #failure: AbortController;
  readonly #signal: AbortSignal;
  readonly #sending = new Set<Promise<void>>();
  readonly #parts: CompletedPart[] = [];
  #id: string | undefined;

  /** A part that fails aborts `failure`; `signal` says when to stop, that abort included. */
  constructor(
    bucket: Bucket,
    key: string,
    description: ObjectDescription,
    failure: AbortController,
    signal: AbortSignal,
  ) {
    this.#bucket = bucket;
    this.#key = key;
    this.#description = description;
    this.#failure = failure;
    this.#signal = signal;
  }

  get isBegun(): boolean {
    return this.#id !== undefined;
  }

  /** Starts to send a part, which is released when that is over. Resolves when the next one may come. */
  async add(part: Part): Promise<void> {
    let id: string;
    try {
      // Never given up: without its id nobody could delete the upload.
      id = this.#id ??= await this.#bucket.createUpload(this.#key, this.#description);
      while (this.#sending.size >= PARTS_IN_FLIGHT) await Promise.race(this.#sending);
      this.#signal.throwIfAborted();
    } catch (error) {
      part.release();
      throw error;
    }
    const index = this.#parts.length;
    this.#parts.push({ PartNumber: index + 1 });
    const sending = this.#send(id, index, part).finally(() => {
      part.release();
      this.#sending.delete(sending);
    });
    this.#sending.add(sending);
  }

  /** Resolves once all parts have been sent. Rejects when one has failed. */
  async settle(): Promise<void> {
    await Promise.all(this.#sending);
    this.#signal.throwIfAborted();
  }

  /** Makes the object and resolves to its entity tag. */
  async complete(): Promise<string> {
    if (this.#id === undefined) throw new TypeError('an upload without a part cannot be completed');
    return this.#bucket.completeUpload(this.#key, this.#id, this.#parts);
  }

  /** Deletes the parts once none is on its way any more: one that arrived later would stay. Never rejects. */
  async abort(): Promise<void> {
    if (this.#id === undefined) return;
    await Promise.all(this.#sending);
    try {
      await this.#bucket.abortUpload(this.#key, this.#id);
    } catch (error) {
      // What is thrown is why the upload failed. A lifecycle rule of the bucket deletes what is left.
      log('parts of the upload %s of %s stay: %O', this.#id, this.#key, error);
    }
  }

  async #send(id: string, index: number, part: Part): Promise<void> {
    try {
      this.#parts[index] = await this.#bucket.putPart(this.#key, id, index + 1, part, this.#signal);
    } catch (error) {
      this.#failure.abort(error);
    }
  }
}
