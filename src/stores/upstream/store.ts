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
import { DEFAULT_SCOPE, splitScope } from '../../keys/scope.js';
import { neverAborted } from '../../util/never-aborted.js';
import { existsError } from '../exists-error.js';
import { HOLDS_KEY, type KeyLimits } from '../holds-key.js';
import { isUpstreamError, RequestTally } from '../request-tally.js';
import { UpstreamClient } from './client.js';
import { streamArtifactOf } from './download.js';
import { unexpectedStatus } from './errors.js';
import { uploadHeadersOf } from './metadata.js';
import { type UpstreamSettings, type UpstreamStoreOptions, upstreamSettingsOf } from './options.js';
import type { UpstreamRequest } from './request.js';
import type { UpstreamResponse } from './response.js';
import { Upload } from './upload.js';

export type { UpstreamStoreOptions } from './options.js';

/** Store that keeps its artifacts in another HTTP cache. Created by {@link upstreamStore}. */
export interface UpstreamStore extends ReadWriteStore {
  get(key: string, options?: Partial<GetOptions>): Promise<StreamArtifact | undefined>;
  put(key: string, body: Readable, options?: Partial<PutOptions>): Promise<PutResult>;
  /**
   * Returns the number of requests to the upstream and the times to their response headers. A retried request counts
   * once.
   */
  stats(): StoreStats;
}

const MISS_STATUSES = new Set([204, 404, 410]);
const NOT_FOUND_STATUSES = new Set([404, 410]);

/**
 * Creates a store that keeps its artifacts in another HTTP cache: a hotblob server, nginx with WebDAV, or any server
 * that answers GET, PUT and DELETE of `url/key`, as caches for Bazel do. Credentials in the URL are sent as
 * `Authorization: Basic`.
 *
 * Over `https:`, ALPN selects HTTP/2 or HTTP/1.1. Over `http:`, the store uses HTTP/1.1, or HTTP/2 with the option
 * `h2c`. Over HTTP/2, all requests share one session. A request that the upstream refused without processing it, or
 * that a GOAWAY excluded, is sent once more on a new session. If a connection ends before the response, a download, or an
 * upload without `ifAbsent`, is also sent once more. An upload is never repeated if more than 64 KiB of its body have been
 * read. Idle connections do not keep the process alive. Redirects are not followed.
 *
 * A lookup sends a GET, and its response body becomes the download, so that a hit takes one request. A range takes a
 * second request. If the body is not needed (HEAD, 304), the bytes in flight are discarded.
 *
 * Metadata of an upload is sent as request headers and read from the response headers of a lookup. Headers that
 * describe the message, the connection or the server are left out. Whether metadata is stored depends on the upstream.
 *
 * The methods of the store reject with a HotblobError: `ERR_HOTBLOB_UPSTREAM` if the upstream cannot be reached or
 * sends an unexpected response, `ERR_HOTBLOB_UPSTREAM_TIMEOUT`, `ERR_HOTBLOB_UPSTREAM_DENIED` if it refuses
 * the request (status 3xx, 501, and most of 4xx), and `ERR_HOTBLOB_CLOSED` after `close()`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function upstreamStore(url: string | URL, options: UpstreamStoreOptions = {}): UpstreamStore {
  return new HttpUpstreamStore(upstreamSettingsOf(url, options));
}

class HttpUpstreamStore implements UpstreamStore, KeyLimits {
  readonly #settings: UpstreamSettings;
  readonly #origin: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #client: UpstreamClient;
  readonly #tally = new RequestTally();

  constructor(settings: UpstreamSettings) {
    const { origin, authorization } = settings;
    this.#settings = settings;
    this.#origin = origin.origin;
    this.#headers = authorization === undefined ? {} : { authorization };
    this.#client = new UpstreamClient(settings);
  }

  async get(key: string, { signal = neverAborted() }: Partial<GetOptions> = {}): Promise<StreamArtifact | undefined> {
    if (!this[HOLDS_KEY](key)) return undefined;
    const path = this.#pathOf(key);
    const sendGet = (headers: Readonly<Record<string, string>>, requestSignal: AbortSignal) =>
      this.#send('get', { method: 'GET', path, headers: { ...this.#headers, ...headers }, signal: requestSignal });
    const response = await sendGet({}, signal);
    if (response.status === 200) {
      const { stallTimeoutMs, unopenedTimeoutMs } = this.#settings.limits;
      return streamArtifactOf({ origin: this.#origin, stallTimeoutMs, unopenedTimeoutMs, sendGet }, response, signal);
    }
    response.cancel();
    if (MISS_STATUSES.has(response.status)) return undefined;
    throw unexpectedStatus(this.#origin, 'GET', response.status);
  }

  async put(key: string, body: Readable, options: Partial<PutOptions> = {}): Promise<PutResult> {
    const { signal = neverAborted() } = options;
    const upload = new Upload(body, { ...options, signal });
    try {
      if (!this[HOLDS_KEY](key)) {
        const message = 'upstream: expected a key of the scope default; another cache has no artifacts of other scopes';
        throw new HotblobError('ERR_HOTBLOB_UPSTREAM_DENIED', message);
      }
      const headers = uploadHeadersOf(normalizeMetadata(options.metadata));
      const response = await this.#send('put', {
        method: 'PUT',
        path: this.#pathOf(key),
        headers: {
          'content-type': 'application/octet-stream',
          ...headers,
          ...this.#headers,
          ...(options.ifAbsent ? { 'if-none-match': '*' } : {}),
        },
        upload,
        signal,
      });
      response.cancel();
      if (options.ifAbsent && response.status === 412) throw existsError();
      if (!isSuccess(response.status)) throw unexpectedStatus(this.#origin, 'PUT', response.status);
      return { created: response.status === 201 || undefined, etag: response.headers.etag };
    } catch (error) {
      upload.discard();
      throw error;
    }
  }

  async delete(key: string): Promise<boolean> {
    if (!this[HOLDS_KEY](key)) return false;
    const response = await this.#send('delete', {
      method: 'DELETE',
      path: this.#pathOf(key),
      headers: this.#headers,
      signal: neverAborted(),
    });
    response.cancel();
    if (isSuccess(response.status)) return true;
    if (NOT_FOUND_STATUSES.has(response.status)) return false;
    throw unexpectedStatus(this.#origin, 'DELETE', response.status);
  }

  /** The other cache keeps scopes of its own apart, and refuses a key with a scope of this one. */
  [HOLDS_KEY](key: string): boolean {
    return splitScope(key).scope === DEFAULT_SCOPE;
  }

  stats(): StoreStats {
    return this.#tally.stats();
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  #send(operation: UpstreamCount['operation'], request: UpstreamRequest): Promise<UpstreamResponse> {
    return this.#tally.run({
      operation,
      hasBody: request.upload !== undefined,
      send: () => this.#client.request(request),
      outcomeOf: ({ status }) => outcomeOf(operation, status),
      outcomeOfError: (error) => (isUpstreamError(error) ? 'no-response' : undefined),
    });
  }

  /**
   * Returns the path and the query for a key. Each segment is encoded, because a key may contain characters that have a
   * meaning in URLs, such as `?` and `%`.
   */
  #pathOf(key: string): string {
    assertKey(key);
    const { basePath, query } = this.#settings;
    return `${basePath}${key.split('/').map(encodeSegment).join('/')}${query}`;
  }
}

function isSuccess(status: number): boolean {
  return status >= 200 && status <= 299;
}

function outcomeOf(operation: UpstreamCount['operation'], status: number): UpstreamCount['outcome'] {
  if (operation === 'get') {
    return MISS_STATUSES.has(status) ? 'missing' : status === 200 || status === 206 ? 'ok' : 'failed';
  }
  if (operation === 'delete' && NOT_FOUND_STATUSES.has(status)) return 'missing';
  // 412: the upload had `If-None-Match: *`, and the upstream has the artifact.
  return isSuccess(status) || (operation === 'put' && status === 412) ? 'ok' : 'failed';
}

function encodeSegment(segment: string): string {
  try {
    return encodeURIComponent(segment);
  } catch (cause) {
    throw new HotblobError(
      'ERR_HOTBLOB_INVALID_KEY',
      'key: expected well-formed Unicode, received a lone surrogate, which has no URL encoding',
      { cause },
    );
  }
}
