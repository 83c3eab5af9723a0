import type { Readable } from 'node:stream';

/** Limits of nginx (`lingering_time`, `lingering_timeout`). */
const MAX_MS = 30_000;
const MAX_IDLE_MS = 5000;
/**
 * Maximum number of bytes that are read of a refused body. Many Java clients read the response only after they have sent the whole
 * body. They receive it if the body is not larger than this.
 */
const MAX_BYTES = 256 * 1024 * 1024;

/**
 * Reads and discards the rest of a refused request body. A connection that is closed while its client is still sending is reset, and
 * the client can then lose a response that it has not read yet (RFC 9112, section 9.6). Calls `done` once: with true when the body has
 * ended or failed, or with false after 30 s, after 5 s without data, or after 256 MiB.
 */
export function linger(body: Readable, done: (isOver: boolean) => void): void {
  if (body.readableEnded || body.destroyed) {
    done(true);
    return;
  }
  let discarded = 0;
  const finish = (isOver: boolean): void => {
    clearTimeout(total);
    clearTimeout(idle);
    body.off('data', onData).off('end', onEnd).off('close', onEnd);
    if (!isOver) body.pause();
    done(isOver);
  };
  const onEnd = (): void => finish(true);
  const onData = (chunk: Uint8Array): void => {
    idle.refresh();
    discarded += chunk.length;
    if (discarded > MAX_BYTES) finish(false);
  };
  const total = setTimeout(finish, MAX_MS, false).unref();
  const idle = setTimeout(finish, MAX_IDLE_MS, false).unref();
  // An error is followed by 'close'. Without a listener it would end the process.
  body.on('data', onData).once('end', onEnd).once('close', onEnd).on('error', ignore);
  body.resume();
}

function ignore(): void {}
