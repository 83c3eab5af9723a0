import { Readable } from 'node:stream';
import type { CompletedPart, GetObjectCommandOutput, HeadObjectCommandOutput, S3Client } from '@aws-sdk/client-s3';
import type { ArtifactMetadata, ByteRange } from '../../contract/artifact.js';
import type { StoreStats, UpstreamCount } from '../../contract/store.js';
import { discard } from '../body.js';
import { existsError } from '../exists-error.js';
import { isUpstreamError, RequestTally } from '../request-tally.js';
import {
  invalidResponse,
  isConflict,
  isMissing,
  isOutOfRange,
  isPreconditionFailed,
  objectChanged,
  toHotblobError,
} from './errors.js';
import { fromObjectMetadata, type ObjectMetadataInput } from './object-metadata.js';
import { BEFORE_SIGNING, type Payload, setPayloadHash } from './payload.js';
import type { Sdk } from './sdk.js';

/** Size, entity tag and metadata of an object. */
export interface ObjectInfo extends ArtifactMetadata {
  /** Size in bytes. */
  readonly size: number;
  /** Strong entity tag. For a multipart upload it is not an MD5, but it still changes with the bytes. */
  readonly etag: string;
}

/** Response to a request for a range of an object. */
interface ObjectResponse {
  readonly info: ObjectInfo;
  readonly range: ByteRange;
  /** Body of the response. The caller must read it to its end or destroy it. */
  readonly body: Readable;
}

/**
 * Options of a request with a body. The time to the response has no limit, because a large body takes long to send. The
 * socket timeout still applies.
 */
const WITH_BODY = { requestTimeout: 0 };

const READING = 'reading from';
const WRITING = 'writing to';

/**
 * Sends requests to one bucket. The SDK retries a request as the client is configured. Methods reject with a
 * HotblobError or, if their signal is aborted, with its reason.
 */
export class Bucket {
  readonly #sdk: Sdk;
  readonly #client: S3Client;
  readonly #name: string;
  readonly #tally = new RequestTally();

  constructor(sdk: Sdk, client: S3Client, name: string) {
    this.#sdk = sdk;
    this.#client = client;
    this.#name = name;
  }

  /** Returns request counts and latencies. A request counts once, and its latency includes all attempts. Uploads have no latency: it would depend on the client. */
  stats(): StoreStats {
    return this.#tally.stats();
  }

  /** Returns the maximum number of attempts that the client makes for a request. */
  async maxAttempts(): Promise<number> {
    return Number(await this.#client.config.maxAttempts());
  }

  /** Returns information about an object, or undefined if it does not exist. */
  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    const command = new this.#sdk.HeadObjectCommand({ Bucket: this.#name, Key: key });
    try {
      const send = () => this.#client.send(command, { ...(signal && { abortSignal: signal }) });
      const response = await this.#send('get', send, signal);
      return this.#infoFrom(response, response.ContentLength);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw this.#toError(error, 'looking up an object in', signal);
    }
  }

  /**
   * Reads a range of an object. Returns undefined if the object does not exist, and `'outOfRange'` if the range starts
   * behind the end of the object. The returned range may end earlier than requested. If the service ignores ranges, the
   * returned range is the whole object.
   */
  async read(key: string, range: ByteRange, signal: AbortSignal): Promise<ObjectResponse | 'outOfRange' | undefined> {
    try {
      return await this.#get(key, range, undefined, signal);
    } catch (error) {
      if (isMissing(error)) return undefined;
      if (isOutOfRange(error)) return 'outOfRange';
      throw this.#toError(error, READING, signal);
    }
  }

  /** Reads exactly `range` of the version of the object that `info` describes. Rejects if the object has changed. */
  async readVersion(key: string, range: ByteRange, info: ObjectInfo, signal: AbortSignal): Promise<Readable> {
    const action = this.#describe(READING);
    try {
      const response = await this.#get(key, range, info.etag, signal);
      const isSameVersion = response.info.etag === info.etag;
      const isSameRange = response.range.start === range.start && response.range.end === range.end;
      if (isSameVersion && isSameRange) return response.body;
      discard(response.body);
      if (!isSameVersion) throw objectChanged(action);
      const received = `bytes from ${response.range.start} to ${response.range.end}`;
      throw invalidResponse(action, `expected bytes from ${range.start} to ${range.end}, received ${received}`);
    } catch (error) {
      const isChanged = isMissing(error) || isOutOfRange(error) || isPreconditionFailed(error);
      throw isChanged ? objectChanged(action) : this.#toError(error, READING, signal);
    }
  }

  /**
   * Stores an object in one request and resolves to its entity tag.
   *
   * @param ifAbsent whether to reject with `ERR_HOTBLOB_EXISTS` if the object exists
   */
  async put(key: string, payload: Payload, metadata: ObjectMetadataInput, ifAbsent: boolean): Promise<string> {
    const input = { Bucket: this.#name, Key: key, Body: payload.bytes, ...metadata, ...conditionOf(ifAbsent) };
    const command = new this.#sdk.PutObjectCommand(input);
    command.middlewareStack.add(setPayloadHash(payload), BEFORE_SIGNING);
    try {
      const response = await this.#send('put', () => this.#client.send(command, WITH_BODY));
      return this.#etagFrom(response, WRITING);
    } catch (error) {
      throw isConflict(error) ? existsError() : this.#toError(error, WRITING);
    }
  }

  /** Creates a multipart upload and resolves to its id. */
  async createUpload(key: string, metadata: ObjectMetadataInput): Promise<string> {
    const command = new this.#sdk.CreateMultipartUploadCommand({ Bucket: this.#name, Key: key, ...metadata });
    try {
      const { UploadId } = await this.#send('put', () => this.#client.send(command));
      if (UploadId === undefined) throw invalidResponse(this.#describe(WRITING), 'S3 responded without an upload id');
      return UploadId;
    } catch (error) {
      throw this.#toError(error, WRITING);
    }
  }

  /** Sends a part of a multipart upload. `number` counts from 1. */
  async putPart(
    key: string,
    uploadId: string,
    number: number,
    payload: Payload,
    signal: AbortSignal,
  ): Promise<CompletedPart> {
    const input = { Bucket: this.#name, Key: key, UploadId: uploadId, PartNumber: number, Body: payload.bytes };
    const command = new this.#sdk.UploadPartCommand(input);
    command.middlewareStack.add(setPayloadHash(payload), BEFORE_SIGNING);
    try {
      const send = () => this.#client.send(command, { ...WITH_BODY, abortSignal: signal });
      const response = await this.#send('put', send, signal);
      return { PartNumber: number, ETag: this.#etagFrom(response, WRITING) };
    } catch (error) {
      throw this.#toError(error, WRITING, signal);
    }
  }

  /** Completes a multipart upload: S3 joins the parts into an object. Resolves to the entity tag of the object. */
  async completeUpload(
    key: string,
    uploadId: string,
    parts: readonly CompletedPart[],
    ifAbsent: boolean,
  ): Promise<string> {
    const upload = { UploadId: uploadId, MultipartUpload: { Parts: [...parts] } };
    const input = { Bucket: this.#name, Key: key, ...upload, ...conditionOf(ifAbsent) };
    const command = new this.#sdk.CompleteMultipartUploadCommand(input);
    try {
      const response = await this.#send('put', () => this.#client.send(command, WITH_BODY));
      return this.#etagFrom(response, WRITING);
    } catch (error) {
      throw isConflict(error) ? existsError() : this.#toError(error, WRITING);
    }
  }

  /** Deletes the parts of a multipart upload. */
  async abortUpload(key: string, uploadId: string): Promise<void> {
    const input = { Bucket: this.#name, Key: key, UploadId: uploadId };
    try {
      await this.#client.send(new this.#sdk.AbortMultipartUploadCommand(input));
    } catch (error) {
      if (!isMissing(error)) throw this.#toError(error, 'aborting an upload to');
    }
  }

  /** Deletes an object. S3 does not report whether it existed. */
  async delete(key: string): Promise<void> {
    const command = new this.#sdk.DeleteObjectCommand({ Bucket: this.#name, Key: key });
    try {
      await this.#send('delete', () => this.#client.send(command));
    } catch (error) {
      if (!isMissing(error)) throw this.#toError(error, 'deleting from');
    }
  }

  async #get(key: string, range: ByteRange, etag: string | undefined, signal: AbortSignal): Promise<ObjectResponse> {
    const command = new this.#sdk.GetObjectCommand({
      Bucket: this.#name,
      Key: key,
      Range: `bytes=${range.start}-${range.end - 1}`,
      // Without If-Match, a download could continue with bytes of an object that has replaced this one.
      ...(etag === undefined ? {} : { IfMatch: etag }),
    });
    const response = await this.#send('get', () => this.#client.send(command, { abortSignal: signal }), signal);
    const body: unknown = response.Body;
    if (!(body instanceof Readable)) throw invalidResponse(this.#describe(READING), 'S3 responded without a body');
    try {
      return { body, ...this.#infoAndRangeFrom(response) };
    } catch (error) {
      discard(body);
      throw error;
    }
  }

  #send<T>(operation: UpstreamCount['operation'], send: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#tally.run({
      operation,
      hasBody: operation === 'put',
      send,
      outcomeOf: () => 'ok',
      outcomeOfError: (error) => {
        if (signal?.aborted === true) return isUpstreamError(signal.reason) ? 'no-response' : undefined;
        if (operation !== 'put' && isMissing(error)) return 'missing';
        // The object exists, but ends before the range starts.
        if (isOutOfRange(error) || (operation === 'put' && isConflict(error))) return 'ok';
        return 'no-response';
      },
    });
  }

  #infoAndRangeFrom(response: GetObjectCommandOutput): Pick<ObjectResponse, 'info' | 'range'> {
    const { ContentRange, ContentLength } = response;
    if (ContentRange === undefined) {
      const info = this.#infoFrom(response, ContentLength);
      return { info, range: { start: 0, end: info.size } };
    }
    const [, start, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(ContentRange) ?? [];
    const info = this.#infoFrom(response, size === undefined ? undefined : Number(size));
    // Some services send "bytes 0-0/0" for an empty object, where AWS responds 416.
    return { info, range: { start: Number(start), end: Math.min(Number(last) + 1, info.size) } };
  }

  #infoFrom(response: GetObjectCommandOutput | HeadObjectCommandOutput, size: number | undefined): ObjectInfo {
    if (size === undefined || !Number.isSafeInteger(size)) {
      throw invalidResponse(this.#describe(READING), 'S3 responded without the size of the object');
    }
    return {
      size,
      etag: this.#etagFrom(response, READING),
      ...(response.LastModified === undefined ? {} : { lastModified: response.LastModified }),
      ...fromObjectMetadata(response),
    };
  }

  #etagFrom({ ETag }: { readonly ETag?: string | undefined }, action: string): string {
    if (!ETag) throw invalidResponse(this.#describe(action), 'S3 responded without an entity tag');
    // Some services omit the quotes.
    return ETag.endsWith('"') ? ETag : `"${ETag}"`;
  }

  #describe(action: string): string {
    return `${action} the bucket '${this.#name}'`;
  }

  #toError(error: unknown, action: string, signal?: AbortSignal): unknown {
    return signal?.aborted ? signal.reason : toHotblobError(error, this.#describe(action));
  }
}

function conditionOf(ifAbsent: boolean): { readonly IfNoneMatch?: string } {
  return ifAbsent ? { IfNoneMatch: '*' } : {};
}
