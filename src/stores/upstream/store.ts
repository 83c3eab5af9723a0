import type { Readable } from 'node:stream';
import type { StreamArtifact } from '../../contract/artifact.js';
import { HotblobError } from '../../contract/errors.js';
import {
  assertKey,
  type GetOptions,
  type PutOptions,
  type PutResult,
  type ReadWriteStore,
  type StoreStats,
  type UpstreamCount,
} from '../../contract/store.js';
import { normalizeMetadata } from '../../contract/upload-metadata.js';
import { discard } from '../body.js';
import { isUpstreamError, RequestTally } from '../request-tally.js';
import { artifactOf } from './download.js';
import { upstreamRefused } from './errors.js';
import { headersOf } from './metadata.js';
import { type UpstreamSettings, type UpstreamStoreOptions, upstreamSettingsOf } from './options.js';
import { Peer } from './peer.js';
import type { UpstreamRequest } from './request.js';
import type { UpstreamResponse } from './response.js';
import { Upload } from './upload.js';

export type { UpstreamStoreOptions } from './options.js';

/** A store that is another cache. */
export interface UpstreamStore extends ReadWriteStore {
  get(key: string, options: GetOptions): Promise<StreamArtifact | undefined>;
  /** What the peer was asked, and how long the heads of its answers took. What was sent again counts once. */
  stats(): StoreStats;
}

const MISSES = new Set([204, 404, 410]);
const NOT_THERE = new Set([404, 410]);

/**
 * A store that is another cache over HTTP: this package's own server, nginx with WebDAV, and whatever answers GET, PUT and
 * DELETE of `url/key` as caches for Bazel do. Credentials in the URL are sent as `Authorization: Basic`.
 *
 * Over `https:` ALPN chooses HTTP/2 or HTTP/1.1; over `http:` it is HTTP/1.1, or HTTP/2 where `h2c` says so. HTTP/2 uses
 * one session for everything. A request that the peer has refused unseen, or that its GOAWAY has overtaken, is sent once
 * more on a fresh session. Idle connections keep no process alive. Redirects are not followed.
 *
 * A lookup is a GET, whose body becomes the download: nothing is asked for twice, but for ranges. Where the body is not
 * wanted (HEAD, 304) what is on its way of it is lost.
 *
 * What an upload says about itself goes with it as headers of the request, and the same headers of an answer come back; but
 * for those that are about the message, the connection or the server. Whether a peer keeps them is the peer's.
 *
 * Its methods throw HotblobError `ERR_HOTBLOB_UPSTREAM` where the peer cannot be reached or answers with something else,
 * `ERR_HOTBLOB_UPSTREAM_TIMEOUT`, and `ERR_HOTBLOB_UPSTREAM_DENIED` for 401 and 403.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function upstreamStore(url: string | URL, options: UpstreamStoreOptions = {}): UpstreamStore {
  return new ArtifactsOfPeer(upstreamSettingsOf(url, options));
}

class ArtifactsOfPeer implements UpstreamStore {
  readonly #settings: UpstreamSettings;
  readonly #origin: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #peer: Peer;
  readonly #tally = new RequestTally();

  constructor(settings: UpstreamSettings) {
    const { origin, authorization } = settings;
    this.#settings = settings;
    this.#origin = origin.origin;
    this.#headers = authorization === undefined ? {} : { authorization };
    this.#peer = new Peer(settings);
  }

  async get(key: string, { signal }: GetOptions): Promise<StreamArtifact | undefined> {
    const path = this.#pathOf(key);
    const ask = (headers: Readonly<Record<string, string>>, until: AbortSignal) =>
      this.#ask('get', { method: 'GET', path, headers: { ...this.#headers, ...headers }, signal: until });
    const response = await ask({}, signal);
    if (response.status === 200) {
      const { stallTimeoutMs, unopenedTimeoutMs } = this.#settings.limits;
      return artifactOf({ origin: this.#origin, stallTimeoutMs, unopenedTimeoutMs, again: ask }, response, signal);
    }
    response.cancel();
    if (MISSES.has(response.status)) return undefined;
    throw upstreamRefused(this.#origin, 'GET', response.status);
  }

  async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
    try {
      const headers = headersOf(normalizeMetadata(options.metadata));
      const upload = new Upload(body, options);
      const response = await this.#ask('put', {
        method: 'PUT',
        path: this.#pathOf(key),
        headers: { 'content-type': 'application/octet-stream', ...headers, ...this.#headers },
        upload,
        signal: options.signal,
      });
      response.cancel();
      if (!isSuccess(response.status)) throw upstreamRefused(this.#origin, 'PUT', response.status);
      return { created: response.status === 201, etag: response.headers.etag };
    } catch (error) {
      discard(body);
      throw error;
    }
  }

  async delete(key: string): Promise<boolean> {
    const { signal } = new AbortController();
    const path = this.#pathOf(key);
    const response = await this.#ask('delete', { method: 'DELETE', path, headers: this.#headers, signal });
    response.cancel();
    if (isSuccess(response.status)) return true;
    if (NOT_THERE.has(response.status)) return false;
    throw upstreamRefused(this.#origin, 'DELETE', response.status);
  }

  stats(): StoreStats {
    return this.#tally.stats();
  }

  close(): Promise<void> {
    return this.#peer.close();
  }

  #ask(operation: UpstreamCount['operation'], request: UpstreamRequest): Promise<UpstreamResponse> {
    return this.#tally.run({
      operation,
      hasBody: request.upload !== undefined,
      send: () => this.#peer.request(request),
      outcomeOf: ({ status }) => outcomeOf(operation, status),
      outcomeOfError: (error) => (isUpstreamError(error) ? 'silence' : undefined),
    });
  }

  /** Percent-encoded segment by segment: a key may hold what a path gives another meaning. */
  #pathOf(key: string): string {
    assertKey(key);
    const { basePath, query } = this.#settings;
    return `${basePath}${key.split('/').map(encoded).join('/')}${query}`;
  }
}

function isSuccess(status: number): boolean {
  return status >= 200 && status <= 299;
}

function outcomeOf(operation: UpstreamCount['operation'], status: number): UpstreamCount['outcome'] {
  if (operation === 'get') return MISSES.has(status) ? 'missing' : status === 200 || status === 206 ? 'ok' : 'failed';
  if (operation === 'delete' && NOT_THERE.has(status)) return 'missing';
  return isSuccess(status) ? 'ok' : 'failed';
}

function encoded(segment: string): string {
  try {
    return encodeURIComponent(segment);
  } catch (cause) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a key with half a surrogate pair has no URL', { cause });
  }
}
