import type { Exchange } from '../contract/exchange.js';

/**
 * Options for one call of the store. `signal` is aborted when the exchange is closed. The AbortController is created
 * when the store first reads `signal`. Most lookups never read it, and the creation costs as much as the rest of such a
 * request.
 */
export class RequestSignal {
  readonly #exchange: Exchange;
  #controller: AbortController | undefined;
  #removeListener: (() => void) | undefined;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController();
      this.#controller = controller;
      this.#removeListener = this.#exchange.onClose(() => controller.abort());
    }
    return this.#controller.signal;
  }

  /** Aborts the call, so that a remote store does not keep a response that is not needed. */
  abort(): void {
    this.#removeListener?.();
    this.#controller?.abort();
  }
}
