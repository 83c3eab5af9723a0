import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { awaitsBody, ClientWait } from './client-wait.js';
import { logConnection } from './log.js';
import type { Limits } from './options.js';
import type { ServerConnection } from './server-connection.js';
import type { ConnectionTotals } from './stats.js';
import { WriteProgress } from './write-progress.js';

/**
 * Time for which a drained idle connection waits for one more request. The response to that request tells the client
 * that the connection closes.
 */
const LAST_REQUEST_MS = 1000;

/** HTTP/1.1 connection. node:http enforces the keep-alive timeout and the headers timeout. */
export class Http1Connection implements ServerConnection {
  readonly protocol = 'http1';
  /** If `true`, the next response is the last one and has `Connection: close` (RFC 9112, 9.6). */
  isDraining = false;
  /** Latest response. Pipelined responses are sent in the order of their requests. */
  response: ServerResponse | undefined;
  readonly #socket: Socket;
  readonly #limits: Limits;
  readonly #totals: ConnectionTotals;
  readonly #expiresAt: number;
  #drainedAt = Number.POSITIVE_INFINITY;
  /** Latest response at the last check. */
  #checkedResponse: ServerResponse | undefined;
  readonly #wait = new ClientWait();
  /** Progress of the writes. The first check creates it; most connections with a single request have closed by then. */
  #progress: WriteProgress | undefined;

  constructor(socket: Socket, limits: Limits, totals: ConnectionTotals, expiresAt: number) {
    this.#socket = socket;
    this.#limits = limits;
    this.#totals = totals;
    totals.accepted.http1++;
    this.#expiresAt = expiresAt;
  }

  // Node's closeIdleConnections() is not used: it treats a response as complete when it has been ended, even if it has
  // not been sent yet.
  get isIdle(): boolean {
    if (this.#socket.destroyed) return false;
    return this.response === undefined || (this.response.writableFinished && this.#socket.writableLength === 0);
  }

  get waitingSince(): number | undefined {
    return this.#socket.destroyed ? undefined : this.#wait.since(this.#position());
  }

  check(now: number): boolean {
    const { isIdle } = this;
    this.#wait.update(now, this.#socket.writableLength > 0 || this.#awaitsBody(), this.#position());
    const wasUsed = !isIdle || this.response !== this.#checkedResponse;
    this.#checkedResponse = this.response;
    const { writableLength, bytesWritten } = this.#socket;
    if (now > this.#expiresAt) this.#closeAfterNextResponse();
    if (now - this.#drainedAt > LAST_REQUEST_MS && isIdle) this.#socket.destroySoon();
    this.#progress ??= this.#watchPeer();
    // `bytesWritten` includes the bytes in Node's queue, which have not been sent yet.
    if (this.#progress.isStalled(now, writableLength, bytesWritten - writableLength)) {
      this.#terminate(`stalled write, ${writableLength} bytes queued`);
    } else if (this.#isBodyStalled(now)) {
      this.#terminate('the request body stopped arriving');
    }
    return wasUsed;
  }

  #isBodyStalled(now: number): boolean {
    const since = this.#awaitsBody() ? this.waitingSince : undefined;
    return since !== undefined && now - since > this.#limits.bodyTimeoutMs;
  }

  #awaitsBody(): boolean {
    const request = this.response?.req;
    return request !== undefined && !request.complete && awaitsBody(request);
  }

  #position(): number {
    const { bytesRead, bytesWritten, writableLength } = this.#socket;
    return bytesRead + bytesWritten - writableLength;
  }

  #terminate(reason: string): void {
    logConnection('HTTP/1.1 connection destroyed: %s', reason);
    this.#totals.terminated.stalled++;
    this.destroy();
  }

  #watchPeer(): WriteProgress {
    // HTTP/1.1 has no PING. With TCP keep-alive, the kernel detects that a client no longer exists.
    this.#socket.setKeepAlive(true, this.#limits.pingIntervalMs);
    return new WriteProgress(this.#limits);
  }

  #closeAfterNextResponse(): void {
    if (!this.isDraining) this.#totals.drained.http1++;
    this.isDraining = true;
  }

  drain(): void {
    this.#closeAfterNextResponse();
    this.#drainedAt = performance.now();
  }

  evict(): void {
    this.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
