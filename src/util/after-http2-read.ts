/**
 * Runs `action` when no HTTP/2 session of Node is reading. Every reset of a stream, and every call that closes or destroys a
 * session, passes through here, unless a timer makes it.
 *
 * Node runs the listeners of a received frame, and the ticks and microtasks that they queue, within a call of nghttp2. If two
 * streams are reset there, or one is reset and the session is destroyed, Node (20.20) sends the first reset at once. nghttp2 then
 * frees the stream, and reads and writes it again when the call continues. That corrupts the heap and can end the process.
 */
export function afterHttp2Read(action: () => void): void {
  setImmediate(action);
}
