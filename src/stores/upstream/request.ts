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
   * Aborts the request until the response headers have arrived. An upload that has been sent completely is not aborted.
   * The reader of the response body ends the body.
   */
  readonly signal: AbortSignal;
}

/** Sends requests over one HTTP version. */
export interface Transport {
  /**
   * Resolves when the response headers have arrived. Rejects with the signal's reason if it aborts, and with the error
   * of the upload body if that fails.
   *
   * @throws ConnectionLostError if an existing connection ended before the response
   * @throws HotblobError `ERR_HOTBLOB_UPSTREAM` or `ERR_HOTBLOB_UPSTREAM_TIMEOUT`
   */
  send(request: UpstreamRequest): Promise<UpstreamResponse>;
  /** Closes every connection and aborts the requests in flight. */
  close(): Promise<void>;
}
