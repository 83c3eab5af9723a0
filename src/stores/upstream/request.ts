import type { UpstreamResponse } from './response.js';
import type { Upload } from './upload.js';

/** Request to the upstream, independent of the HTTP version. */
export interface UpstreamRequest {
  readonly method: 'GET' | 'PUT' | 'DELETE';
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly upload?: Upload | undefined;
  /**
   * Signal that aborts the request. It has no effect after an upload has been sent completely, nor after the response
   * headers have arrived. To abort a response body, destroy it.
   */
  readonly signal: AbortSignal;
}

/** Client for one HTTP version. */
export interface Transport {
  /**
   * Sends a request. Resolves when the response headers have arrived. If the signal is aborted, rejects with its
   * reason. If the upload body fails, rejects with its error.
   *
   * @throws ConnectionLostError if an existing connection ended before the response
   * @throws HotblobError `ERR_HOTBLOB_UPSTREAM` or `ERR_HOTBLOB_UPSTREAM_TIMEOUT`
   */
  send(request: UpstreamRequest): Promise<UpstreamResponse>;
  /** Closes every connection and aborts the requests in flight. */
  close(): Promise<void>;
}
