import { Readable } from 'node:stream';
import type { Exchange } from '../../src/contract/exchange.js';

/** A GET without a network: the test says when what has been written has left, and when the client leaves. */
export class FakeExchange implements Exchange {
  readonly method = 'GET';
  readonly url: string;
  readonly headers = {};
  readonly body = Readable.from([]);
  readonly connection = {};
  readonly multiplexed = false;
  readonly plain = true;
  readonly tracked = true;
  closed = false;
  /** What has been answered so far. */
  status: number | undefined;
  readonly #closeListeners = new Set<() => void>();
  #resolveWrite: ((sent: boolean) => void) | undefined;

  constructor(url: string) {
    this.url = url;
  }

  get headersSent(): boolean {
    return this.status !== undefined;
  }

  /** Whether something has been written that has not left. */
  get isWriting(): boolean {
    return this.#resolveWrite !== undefined;
  }

  onClose(listener: () => void): () => void {
    this.#closeListeners.add(listener);
    return () => this.#closeListeners.delete(listener);
  }

  replaceConnection(): void {}

  turn(): undefined {
    return undefined;
  }

  refuseBody(): void {}

  respond(status: number): void {
    this.status = status;
  }

  write(): Promise<boolean> {
    return new Promise((resolve) => {
      this.#resolveWrite = resolve;
    });
  }

  end(): void {}

  retire(release: () => void): void {
    release();
  }

  destroy(): void {}

  /** Says that what has been written has left the process. */
  sent(): void {
    this.#settleWrite(true);
  }

  /** Leaves, as a client does that resets its connection. */
  leave(): void {
    this.closed = true;
    this.#settleWrite(false);
    for (const listener of this.#closeListeners) listener();
  }

  #settleWrite(isSent: boolean): void {
    const resolve = this.#resolveWrite;
    this.#resolveWrite = undefined;
    resolve?.(isSent);
  }
}
