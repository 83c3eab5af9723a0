import type { ServerHttp2Stream } from 'node:http2';
import { isForgotten } from '../adapters/forgotten-stream.js';
import { awaitsBody } from './client-wait.js';

/** Stream of an HTTP/2 session that has not closed yet, as far as the session knows. */
export interface OpenStream {
  readonly stream: ServerHttp2Stream;
  readonly hasBody: boolean;
}

/**
 * Returns whether a stream is closed. If the client resets a stream before its response could be sent, Node may neither
 * destroy the stream nor emit 'aborted'; `isForgotten` detects this.
 */
export function isClosed(stream: ServerHttp2Stream): boolean {
  return stream.destroyed || (stream.writableLength > 0 && isForgotten(stream));
}

/** Returns whether a stream can continue only if its client sends or reads. */
export function awaitsClient({ stream, hasBody }: OpenStream): boolean {
  return stream.writableLength > 0 || (hasBody && awaitsBody(stream));
}
