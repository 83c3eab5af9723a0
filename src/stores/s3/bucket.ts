import { Readable } from 'node:stream';
import type { CompletedPart, GetObjectCommandOutput, HeadObjectCommandOutput, S3Client } from '@aws-sdk/client-s3';
import type { ArtifactMetadata, ByteRange } from '../../contract/artifact.js';
import type { StoreStats, UpstreamCount } from '../../contract/store.js';
import { isUpstreamError, RequestTally } from '../request-tally.js';
import { brokenAnswer, changedMeanwhile, failureOf, isMissing, isOutOfRange } from './failure.js';
import { metadataOf, type ObjectDescription } from './metadata.js';
import type { Sdk } from './sdk.js';

/** What is known of an object. */
export interface ObjectFacts extends ArtifactMetadata {
  /** In bytes. */
  readonly size: number;
  /** Strong; that of an object which went up in parts is no MD5, but changes with the bytes all the same. */
  readonly etag: string;
}

/** Some bytes of an object, on their way. */
export interface ObjectRead {
  readonly facts: ObjectFacts;
  readonly range: ByteRange;
  /** Whoever has it reads it to its end or destroys it. */
  readonly body: Readable;
}

/** Bytes that go to the service, with what it checks them by. */
export interface Payload {
  readonly bytes: Buffer;
  /** SHA-256 in hexadecimal digits. */
  readonly sha256: string;
}

/** Time to the answer is not bounded for a request with a body, which may be long on its way: only silence is. */
const WITH_BODY = { requestTimeout: 0 };

/** The requests, each tried as often as the client is configured for. Every method rejects with a HotblobError. */
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

  /** What the service was asked, and how long the heads of its answers took, with all attempts of a request. */
  stats(): StoreStats {
    return this.#tally.stats();
  }

  /** How often the client tries a request. */
  async attempts(): Promise<number> {
    return Number(await this.#client.config.maxAttempts());
  }

  /** What is known of an object; undefined where there is none. */
  async head(key: string, signal?: AbortSignal): Promise<ObjectFacts | undefined> {
    const command = new this.#sdk.HeadObjectCommand({ Bucket: this.#name, Key: key });
    try {
      const send = () => this.#client.send(command, { ...(signal && { abortSignal: signal }) });
      const answer = await this.#ask('get', send, signal);
      return this.#factsOf(answer, answer.ContentLength);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw this.#failure(error, 'looking into', signal);
    }
  }

  /**
   * Begins to read; undefined where there is no object, `'outside'` where it ends before the range does begin. The range
   * that comes may end earlier than the one asked for, and may be the whole object from a service that knows no ranges.
   */
  async read(key: string, range: ByteRange, signal: AbortSignal): Promise<ObjectRead | 'outside' | undefined> {
    try {
      return await this.#get(key, range, undefined, signal);
    } catch (error) {
      if (isMissing(error)) return undefined;
      if (isOutOfRange(error)) return 'outside';
      throw this.#failure(error, 'reading from', signal);
    }
  }

  /** Begins to read a range of the object that `facts` are of: exactly that range, of exactly that object. */
  async readOn(key: string, range: ByteRange, facts: ObjectFacts, signal: AbortSignal): Promise<Readable> {
    const doing = this.#doing('reading from');
    try {
      const read = await this.#get(key, range, facts.etag, signal);
      if (read.facts.etag === facts.etag && read.range.start === range.start && read.range.end === range.end) {
        return read.body;
      }
      abandon(read.body);
      if (read.facts.etag !== facts.etag) throw changedMeanwhile(doing);
      throw brokenAnswer(doing, `asked for bytes from ${range.start}, S3 answered with those from ${read.range.start}`);
    } catch (error) {
      const isChanged = isMissing(error) || isOutOfRange(error) || isPreconditionFailed(error);
      throw isChanged ? changedMeanwhile(doing) : this.#failure(error, 'reading from', signal);
    }
  }

  /** Stores an object in one request and resolves to its entity tag. */
  async put(key: string, payload: Payload, description: ObjectDescription): Promise<string> {
    const input = { Bucket: this.#name, Key: key, Body: payload.bytes, ...description };
    const command = new this.#sdk.PutObjectCommand(input);
    command.middlewareStack.add(sayHash(payload), SAY_HASH);
    try {
      const answer = await this.#ask('put', () => this.#client.send(command, WITH_BODY));
      return this.#tagOf(answer, 'writing to');
    } catch (error) {
      throw this.#failure(error, 'writing to');
    }
  }

  /** Begins an upload in parts and resolves to its id. */
  async createUpload(key: string, description: ObjectDescription): Promise<string> {
    const command = new this.#sdk.CreateMultipartUploadCommand({ Bucket: this.#name, Key: key, ...description });
    try {
      const { UploadId } = await this.#ask('put', () => this.#client.send(command));
      if (UploadId === undefined) throw brokenAnswer(this.#doing('writing to'), 'S3 gave the upload no id');
      return UploadId;
    } catch (error) {
      throw this.#failure(error, 'writing to');
    }
  }

  /** Sends a part. `PartNumber` counts from 1. */
  async putPart(
    key: string,
    uploadId: string,
    number: number,
    payload: Payload,
    signal: AbortSignal,
  ): Promise<CompletedPart> {
    const input = { Bucket: this.#name, Key: key, UploadId: uploadId, PartNumber: number, Body: payload.bytes };
    const command = new this.#sdk.UploadPartCommand(input);
    command.middlewareStack.add(sayHash(payload), SAY_HASH);
    try {
      const send = () => this.#client.send(command, { ...WITH_BODY, abortSignal: signal });
      const answer = await this.#ask('put', send, signal);
      return { PartNumber: number, ETag: this.#tagOf(answer, 'writing to') };
    } catch (error) {
      throw this.#failure(error, 'writing to', signal);
    }
  }

  /** Makes an object of the parts, in their order, and resolves to its entity tag. */
  async completeUpload(key: string, uploadId: string, parts: readonly CompletedPart[]): Promise<string> {
    const input = { Bucket: this.#name, Key: key, UploadId: uploadId, MultipartUpload: { Parts: [...parts] } };
    const command = new this.#sdk.CompleteMultipartUploadCommand(input);
    try {
      const answer = await this.#ask('put', () => this.#client.send(command, WITH_BODY));
      return this.#tagOf(answer, 'writing to');
    } catch (error) {
      throw this.#failure(error, 'writing to');
    }
  }

  /** Deletes the parts of an upload that is not to become an object. */
  async abortUpload(key: string, uploadId: string): Promise<void> {
    const input = { Bucket: this.#name, Key: key, UploadId: uploadId };
    try {
      await this.#client.send(new this.#sdk.AbortMultipartUploadCommand(input));
    } catch (error) {
      if (!isMissing(error)) throw this.#failure(error, 'aborting an upload to');
    }
  }

  /** Deletes an object; the service does not say whether there was one. */
  async delete(key: string): Promise<void> {
    const command = new this.#sdk.DeleteObjectCommand({ Bucket: this.#name, Key: key });
    try {
      await this.#ask('delete', () => this.#client.send(command));
    } catch (error) {
      if (!isMissing(error)) throw this.#failure(error, 'deleting from');
    }
  }

  async #get(key: string, range: ByteRange, etag: string | undefined, signal: AbortSignal): Promise<ObjectRead> {
    const command = new this.#sdk.GetObjectCommand({
      Bucket: this.#name,
      Key: key,
      Range: `bytes=${range.start}-${range.end - 1}`,
      // Without it a new object's bytes could follow on the old one's.
      ...(etag === undefined ? {} : { IfMatch: etag }),
    });
    const answer = await this.#ask('get', () => this.#client.send(command, { abortSignal: signal }), signal);
    const body: unknown = answer.Body;
    if (!(body instanceof Readable)) throw brokenAnswer(this.#doing('reading from'), 'S3 answered without a body');
    try {
      return { body, ...this.#positionOf(answer) };
    } catch (error) {
      abandon(body);
      throw error;
    }
  }

  #ask<T>(operation: UpstreamCount['operation'], send: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#tally.run({
      operation,
      hasBody: operation === 'put',
      send,
      outcomeOf: () => 'ok',
      outcomeOfError: (error) => {
        if (signal?.aborted === true) return isUpstreamError(signal.reason) ? 'no-response' : undefined;
        if (operation !== 'put' && isMissing(error)) return 'missing';
        // There is an object, only a shorter one.
        if (isOutOfRange(error)) return 'ok';
        return 'no-response';
      },
    });
  }

  #positionOf(answer: GetObjectCommandOutput): Pick<ObjectRead, 'facts' | 'range'> {
    const { ContentRange, ContentLength } = answer;
    if (ContentRange === undefined) {
      const facts = this.#factsOf(answer, ContentLength);
      return { facts, range: { start: 0, end: facts.size } };
    }
    const [, start, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(ContentRange) ?? [];
    const facts = this.#factsOf(answer, size === undefined ? undefined : Number(size));
    // "bytes 0-0/0" is what some answer for an empty object, where AWS says 416.
    return { facts, range: { start: Number(start), end: Math.min(Number(last) + 1, facts.size) } };
  }

  #factsOf(answer: GetObjectCommandOutput | HeadObjectCommandOutput, size: number | undefined): ObjectFacts {
    if (size === undefined || !Number.isSafeInteger(size)) {
      throw brokenAnswer(this.#doing('reading from'), 'S3 did not say how long the object is');
    }
    return {
      size,
      etag: this.#tagOf(answer, 'reading from'),
      ...(answer.LastModified === undefined ? {} : { lastModified: answer.LastModified }),
      ...metadataOf(answer),
    };
  }

  #tagOf({ ETag }: { readonly ETag?: string | undefined }, doing: string): string {
    if (!ETag) throw brokenAnswer(this.#doing(doing), 'S3 answered without an entity tag');
    // Some services leave the quotes out.
    return ETag.endsWith('"') ? ETag : `"${ETag}"`;
  }

  #doing(what: string): string {
    return `${what} the bucket '${this.#name}'`;
  }

  #failure(error: unknown, doing: string, signal?: AbortSignal): unknown {
    return signal?.aborted ? signal.reason : failureOf(error, this.#doing(doing));
  }
}

/** Ends a body that nobody reads. */
export function abandon(body: Readable): void {
  body.on('error', () => {});
  body.destroy();
}

function isPreconditionFailed(error: unknown): boolean {
  return error instanceof Error && error.name === 'PreconditionFailed';
}

/**
 * Says the SHA-256 that was taken while the bytes came in. Otherwise the SDK takes it of all of them at once, and nothing
 * else happens in the process for the 15 ms that 16 MiB need.
 */
function sayHash({ sha256 }: Payload) {
  return <A extends { request: unknown }, R>(next: (args: A) => R) =>
    (args: A): R => {
      if (hasHeaders(args.request)) args.request.headers['x-amz-content-sha256'] = sha256;
      return next(args);
    };
}

/** Before the request is signed. */
const SAY_HASH = { step: 'build', name: 'hotblobPayloadHash' } as const;

function hasHeaders(request: unknown): request is { headers: Record<string, string> } {
  return typeof request === 'object' && request !== null && 'headers' in request;
}
