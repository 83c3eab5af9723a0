import type { Writable } from 'node:stream';
import { Deadline } from './deadline.js';
import { upstreamError, upstreamTimeout } from './errors.js';
import type { UpstreamLimits } from './options.js';
import type { UpstreamRequest } from './request.js';
import type { UpstreamResponse } from './response.js';

/** Request that has been created: a `ClientRequest` of node:http, or a stream of node:http2. */
export interface OutgoingRequest {
  /** Stream to which the request body is written. */
  readonly sink: Writable;
  /** Reports the progress of the request to `events`. Called once. */
  subscribe(events: RequestEvents): void;
  abort(): void;
  /**
   * Returns the error with which `send` rejects. `error` is the error of `sink`, or undefined if `sink` was closed
   * before the response.
   */
  explain(error: Error | undefined): Error;
}

interface RequestEvents {
  /** Called when a new connection is opened for the request. */
  onConnecting(): void;
  /** Called when the request has a connection or a stream. */
  onConnected(): void;
  onResponse(response: UpstreamResponse): void;
}

/**
 * Sends a request and resolves when the response headers arrive. Each step has its own timeout. Aborts the request
 * before it rejects.
 */
export function sendRequest(
  outgoing: OutgoingRequest,
  request: UpstreamRequest,
  limits: UpstreamLimits,
  origin: string,
): Promise<UpstreamResponse> {
  const { sink } = outgoing;
  const { signal, upload } = request;
  return new Promise((resolve, reject) => {
    let isSettled = false;
    let isSent = false;
    const deadline = new Deadline((expectation) => fail(upstreamTimeout(origin, expectation)));
    const settle = (): void => {
      isSettled = true;
      deadline.clear();
      signal.removeEventListener('abort', onAbort);
    };
    const fail = (reason: unknown): void => {
      if (isSettled) return;
      settle();
      outgoing.abort();
      reject(reason);
    };
    const onAbort = (): void => fail(signal.reason);
    const awaitResponse = (): void => {
      if (isSettled) return;
      isSent = true;
      // From now on an abort is ignored: the upstream may store an upload that it has received completely, and only the
      // response says whether it did.
      if (upload !== undefined) signal.removeEventListener('abort', onAbort);
      deadline.set('firstByteTimeoutMs', limits.firstByteTimeoutMs, 'response headers');
    };
    const onResponse = (response: UpstreamResponse): void => {
      if (isSettled) return;
      if (!isSent && response.status < 300) {
        fail(upstreamError(origin, new Error(`received status ${response.status} before the end of the upload`)));
        return;
      }
      settle();
      // The upstream has refused the upload before its end, so the rest does not have to be sent.
      if (!isSent) outgoing.abort();
      resolve(response);
    };
    const onConnected = (): void => {
      if (isSettled) return;
      if (upload === undefined) {
        awaitResponse();
        return;
      }
      deadline.clear();
      upload.sendTo(sink, deadline, limits.stallTimeoutMs, () => isSettled).then(awaitResponse, fail);
    };

    // These listeners are never removed: a request can still fail after its response has begun.
    sink.on('error', (error) => fail(outgoing.explain(error)));
    sink.on('close', () => fail(outgoing.explain(undefined)));
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) return onAbort();
    if (upload === undefined) sink.end();
    deadline.set('firstByteTimeoutMs', limits.firstByteTimeoutMs, 'free connection');
    outgoing.subscribe({
      onConnecting: () => deadline.set('connectTimeoutMs', limits.connectTimeoutMs, 'connection'),
      onConnected,
      onResponse,
    });
  });
}
