import type { Writable } from 'node:stream';
import { Deadline } from './deadline.js';
import { upstreamFailed, upstreamLate } from './errors.js';
import type { UpstreamLimits } from './options.js';
import type { UpstreamRequest } from './request.js';
import type { UpstreamResponse } from './response.js';

/** A request that has begun: node:http's, or a stream of node:http2. */
export interface Outgoing {
  readonly sink: Writable;
  /** Tells how it goes. Called once. */
  watch(watcher: Watcher): void;
  /** Ends it, whatever is under way. */
  abort(): void;
  /** What an error of `sink` means, or, without one, that it has closed before an answer. */
  explain(error: Error | undefined): Error;
}

export interface Watcher {
  /** It has a connection of its own that is being made. */
  connecting(): void;
  /** It has a connection, or its part of one. */
  connected(): void;
  answered(response: UpstreamResponse): void;
}

/**
 * Sends a request and waits for the headers of its answer, each step for as long as it may take. What rejects leaves
 * nothing behind.
 */
export function converse(
  outgoing: Outgoing,
  request: UpstreamRequest,
  limits: UpstreamLimits,
  origin: string,
): Promise<UpstreamResponse> {
  const { sink } = outgoing;
  const { signal, upload } = request;
  return new Promise((resolve, reject) => {
    let isSettled = false;
    let isSent = false;
    const deadline = new Deadline((waitedFor) => fail(upstreamLate(origin, waitedFor)));
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
    const awaitAnswer = (): void => {
      if (isSettled) return;
      isSent = true;
      // Whether an upload that has been sent is kept, the peer alone decides: only its answer can tell.
      if (upload !== undefined) signal.removeEventListener('abort', onAbort);
      deadline.set(limits.firstByteTimeoutMs, 'answer');
    };
    const answered = (response: UpstreamResponse): void => {
      if (isSettled) return;
      if (!isSent && response.status < 300) {
        fail(upstreamFailed(origin, new Error(`${response.status} before the end of the upload`)));
        return;
      }
      settle();
      // It says no to an upload that is still under way: the rest is not wanted.
      if (!isSent) outgoing.abort();
      resolve(response);
    };
    const connected = (): void => {
      if (isSettled) return;
      if (upload === undefined) {
        awaitAnswer();
        return;
      }
      deadline.clear();
      upload.sendTo(sink, deadline, limits.stallTimeoutMs, () => isSettled).then(awaitAnswer, fail);
    };

    // These stay for good: a request may fail after its answer has begun.
    sink.on('error', (error) => fail(outgoing.explain(error)));
    sink.on('close', () => fail(outgoing.explain(undefined)));
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) return onAbort();
    if (upload === undefined) sink.end();
    deadline.set(limits.firstByteTimeoutMs, 'connection that is free');
    outgoing.watch({
      connecting: () => deadline.set(limits.connectTimeoutMs, 'connection'),
      connected,
      answered,
    });
  });
}
