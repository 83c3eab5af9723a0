import type { ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { isForgotten } from '../adapters/forgotten-stream.js';
import { awaitsBody } from './client-wait.js';

/** Stream of an HTTP/2 session that has not closed yet, as far as the session knows. */
export interface OpenStream {
  readonly stream: ServerHttp2Stream;
  readonly hasBody: boolean;
}

/** Undocumented part of a socket: its libuv handle, which net.Socket itself uses to detect that bytes are being sent. */
interface HandleOwner {
  readonly _handle?: { readonly writeQueueSize?: number } | null;
}

/**
 * Returns whether a stream is closed. If the client resets a stream before its response could be sent, Node may neither
 * destroy the stream nor emit 'aborted'; `isForgotten` detects this. A complete response whose last bytes wait for the socket
 * looks the same, because nghttp2 closes the stream when it has taken the last frame. Node destroys its stream later.
 */
export function isClosed(stream: ServerHttp2Stream, socket: Socket): boolean {
  if (stream.destroyed) return true;
  return stream.writableLength > 0 && isForgotten(stream) && !(stream.writableEnded && isSending(socket));
}

function isSending(socket: Socket): boolean {
  return ((socket as HandleOwner)._handle?.writeQueueSize ?? 0) > 0;
}

/** Returns whether a stream can continue only if its client sends or reads. */
export function awaitsClient({ stream, hasBody }: OpenStream): boolean {
  return stream.writableLength > 0 || (hasBody && awaitsBody(stream));
}
