import type { Readable } from 'node:stream';
import type { CompletedPart } from '@aws-sdk/client-s3';
import type { PutOptions, PutResult } from '../../contract/store.js';
import { normalizeMetadata } from '../../contract/upload-metadata.js';
import { createLog } from '../../util/log.js';
import { existsError } from '../exists-error.js';
import type { Bucket } from './bucket.js';
import { type ObjectMetadataInput, toObjectMetadata } from './object-metadata.js';
import { type Part, splitIntoParts, type UploadLimits } from './parts.js';

/** Number of parts of an upload that are sent at the same time. Meanwhile, the next part is filled. */
const PARTS_IN_FLIGHT = 2;

const log = createLog('s3');

/**
 * Stores a body as an object: in one request if it fits into one part, otherwise as a multipart upload. An upload that
 * fails before its last request leaves nothing. The last request is never aborted: the store could not know whether S3
 * has processed it.
 *
 * Does not use `Upload` of @aws-sdk/lib-storage. When `Upload` is aborted, it leaves parts in flight and rejects before
 * the parts are deleted. If the deletion fails too, it reports the error of the deletion instead of the first error.
 *
 * @throws HotblobError for the reasons of {@link splitIntoParts} and {@link normalizeMetadata}
 * @throws the error of the body or the bucket, or the reason of the signal
 */
export async function upload(
  bucket: Bucket,
  key: string,
  body: Readable,
  { signal: clientSignal, size, metadata, ifAbsent = false }: PutOptions,
  limits: UploadLimits,
): Promise<PutResult> {
  const objectMetadata = toObjectMetadata(normalizeMetadata(metadata));
  const failure = new AbortController();
  const signal = AbortSignal.any([clientSignal, failure.signal]);
  // The HEAD request runs while the body arrives, so that it adds no latency.
  const existing = bucket.head(key, signal);
  existing.catch((error: unknown) => failure.abort(error));
  const isNewKey = async (): Promise<boolean> => {
    const found = await existing;
    signal.throwIfAborted();
    if (ifAbsent && found !== undefined) throw existsError();
    return found === undefined;
  };
  const multipart = new MultipartUpload(bucket, key, objectMetadata, failure, signal);
  try {
    for await (const part of splitIntoParts(body, { signal, size }, limits)) {
      if (part.isLast && !multipart.hasStarted) {
        try {
          return { created: await isNewKey(), etag: await bucket.put(key, part, objectMetadata, ifAbsent) };
        } finally {
          part.release();
        }
      }
      await multipart.add(part);
    }
    await multipart.waitForParts();
    return { created: await isNewKey(), etag: await multipart.complete(ifAbsent) };
  } catch (error) {
    // Aborts the HEAD request and the parts in flight.
    failure.abort(error);
    await multipart.abort();
    throw error;
  }
}

class MultipartUpload {
  readonly #bucket: Bucket;
  readonly #key: string;
  readonly #metadata: ObjectMetadataInput;
  readonly #failure: AbortController;
  readonly #signal: AbortSignal;
  readonly #sending = new Set<Promise<void>>();
  readonly #parts: CompletedPart[] = [];
  #id: string | undefined;

  /**
   * @param failure controller that is aborted when a part fails
   * @param signal aborts the upload. It is also aborted when `failure` is aborted
   */
  constructor(
    bucket: Bucket,
    key: string,
    metadata: ObjectMetadataInput,
    failure: AbortController,
    signal: AbortSignal,
  ) {
    this.#bucket = bucket;
    this.#key = key;
    this.#metadata = metadata;
    this.#failure = failure;
    this.#signal = signal;
  }

  get hasStarted(): boolean {
    return this.#id !== undefined;
  }

  /** Starts to send a part and releases it afterwards. Resolves when the next part may be added. */
  async add(part: Part): Promise<void> {
    let id: string;
    try {
      // This request is never aborted: without the id of the upload, it could not be deleted.
      id = this.#id ??= await this.#bucket.createUpload(this.#key, this.#metadata);
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

  /** Resolves when all parts have been sent. Rejects if a part has failed. */
  async waitForParts(): Promise<void> {
    await Promise.all(this.#sending);
    this.#signal.throwIfAborted();
  }

  /** Completes the upload and resolves to the entity tag of the object. */
  async complete(ifAbsent: boolean): Promise<string> {
    if (this.#id === undefined) throw new TypeError('a multipart upload without parts cannot be completed');
    return this.#bucket.completeUpload(this.#key, this.#id, this.#parts, ifAbsent);
  }

  /**
   * Waits until no part is in flight, then deletes all parts. S3 would keep a part that arrives after the deletion.
   * Never rejects.
   */
  async abort(): Promise<void> {
    if (this.#id === undefined) return;
    await Promise.all(this.#sending);
    try {
      await this.#bucket.abortUpload(this.#key, this.#id);
    } catch (error) {
      // Not thrown, because the caller throws the first error. A lifecycle rule of the bucket deletes the parts.
      log('deleting the parts of upload %s of %s failed: %O', this.#id, this.#key, error);
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
