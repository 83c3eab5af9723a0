import type { Readable } from 'node:stream';
import type { UploadMetadata } from '../contract/artifact.js';
import type { Exchange } from '../contract/exchange.js';
import type { PutResult } from '../contract/store.js';
import type { ArtifactDescription, Protocol, ProtocolArtifacts } from '../protocols/protocol.js';
import type { Settings } from './options.js';
import { RequestSignal } from './request-signal.js';
import type { Artifacts } from './store-access.js';
import { expectedBody, uploadBody } from './upload-body.js';

/** What the answer to one request may do with the artifacts of its protocol. */
export class RequestArtifacts implements ProtocolArtifacts {
  /** Whether somebody has asked for the request's body. */
  isBodyTaken = false;
  readonly #exchange: Exchange;
  readonly #protocol: Protocol | undefined;
  readonly #settings: Settings;
  readonly #artifacts: Artifacts;
  readonly #signal: RequestSignal;

  constructor(exchange: Exchange, protocol: Protocol | undefined, settings: Settings, artifacts: Artifacts) {
    this.#exchange = exchange;
    this.#protocol = protocol;
    this.#settings = settings;
    this.#artifacts = artifacts;
    this.#signal = new RequestSignal(exchange);
  }

  get signal(): AbortSignal {
    return this.#signal.signal;
  }

  /** The key in the store. @throws HotblobError for what is none */
  storeKey(key: string): string {
    return this.#protocol === undefined ? key : this.#settings.protocols.storeKey(this.#protocol, key);
  }

  async describe(key: string): Promise<ArtifactDescription | undefined> {
    const representation = await this.#artifacts.describe(this.#exchange, this.storeKey(key));
    if (representation === undefined) return undefined;
    const { size, etag, lastModified, metadata } = representation;
    return { size, etag, lastModified: lastModified && new Date(lastModified.seconds * 1000), metadata };
  }

  async read(key: string, maxBytes: number): Promise<Buffer | undefined> {
    return this.#artifacts.read(this.#exchange, this.storeKey(key), maxBytes);
  }

  async put(key: string, body: Readable, metadata?: UploadMetadata): Promise<PutResult> {
    return this.#artifacts.put(this.#exchange, this.storeKey(key), body, { metadata });
  }

  async delete(key: string): Promise<boolean> {
    return this.#artifacts.delete(this.#exchange, this.storeKey(key));
  }

  body(maxBytes: number): Readable {
    this.isBodyTaken = true;
    const expected = expectedBody(this.#exchange, Math.min(maxBytes, this.#settings.maxUploadBytes));
    return uploadBody(this.#exchange, expected);
  }
}
