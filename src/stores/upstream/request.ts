import type { PutOptions } from '../../contract/store.js';
import type { UpstreamResponse } from './response.js';
import type { Upload } from './upload.js';

/** What is asked of the peer, in whatever protocol. */
export interface UpstreamRequest {
  readonly method: 'GET' | 'PUT' | 'DELETE';
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly upload?: Upload | undefined;
  /** Ends the request while it has no answer, but not an upload of which all has been sent. What is left of the answer afterwards is its reader's. */
  readonly signal: PutOptions['signal'];
}

/** One way to the peer. */
export interface Transport {
  /**
   * Resolves when the headers of the answer are there.
   *
   * @throws Unanswered where a connection that was there before has ended; HotblobError `ERR_HOTBLOB_UPSTREAM` or
   * `ERR_HOTBLOB_UPSTREAM_TIMEOUT`; the reason of the signal; what the upload's body says
   */
  send(request: UpstreamRequest): Promise<UpstreamResponse>;
  /** Ends every connection, and what is in flight with it. */
  close(): Promise<void>;
}
