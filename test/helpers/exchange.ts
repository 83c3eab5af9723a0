import { Readable } from 'node:stream';
import type { Exchange } from '../../src/contract/exchange.js';

/** A GET exchange without a network. The test decides when a write completes and when the client disconnects. */
export class FakeExchange implements Exchange {
  readonly method = 'GET';
  readonly url: string;
  readonly headers = {};
  readonly body = Readable.from([]);
  readonly connection = {};
  readonly multiplexed: boolean = false;
  readonly plain: boolean = true;
  readonly tracked = true;
  closed = false;
  /** Status of the response, once its headers are sent. */
  status: number | undefined;
  readonly #closeListeners = new Set<() => void>();
  #resolveWrite: ((sent: boolean) => void) | undefined;

  constructor(url: string) {
    this.url = url;
  }

  get headersSent(): boolean {
    return this.status !== undefined;
  }

  /** Whether a write is pending. */
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

  /** Completes the pending write. */
  sent(): void {
    this.#settleWrite(true);
  }

  /** Disconnects the client: fails the pending write and calls the close listeners. */
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
