import { constants, type ServerHttp2Stream } from 'node:http2';

/**
 * Whether a stream's session knows it no more, though Node (20.20) has not destroyed it: its client has reset it with
 * NO_ERROR. It never will be, nor will its session be then. A stream that the host closes must be left to Node until its
 * reset has gone: destroyed before, it is never reset, and where bytes of it are queued Node sends empty frames for it in
 * an endless loop. To be destroyed from the event loop, not from within an event of the session.
 */
export function isForgotten(stream: ServerHttp2Stream): boolean {
  return !stream.destroyed && stream.closed && stream.state.state === constants.NGHTTP2_STREAM_STATE_IDLE;
}
