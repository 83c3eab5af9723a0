import { constants, type ServerHttp2Stream } from 'node:http2';

/**
 * Returns whether nghttp2 has dropped the stream but Node has not destroyed it. Node 20.20 leaves a stream in this
 * state if the client resets the stream with NO_ERROR. Neither the stream nor its session would ever be destroyed. The
 * caller must destroy the stream, but not within an event of the session.
 *
 * A stream that the host closes is not in this state until its reset has been sent. If it were destroyed earlier, it
 * would never be reset, and if it had queued bytes, Node would send empty frames in an endless loop.
 */
export function isForgotten(stream: ServerHttp2Stream): boolean {
  return !stream.destroyed && stream.closed && stream.state.state === constants.NGHTTP2_STREAM_STATE_IDLE;
}
