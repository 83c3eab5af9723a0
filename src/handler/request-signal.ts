import type { Exchange } from '../contract/exchange.js';

/**
 * Options for one call of the store. `signal` is aborted when the exchange is closed. The AbortController is created
 * when the store first reads `signal`. Most lookups never read it, and the creation costs as much as the rest of such a
 * request.
 */
export class RequestSignal {
  readonly #exchange: Exchange;
  #signal: AbortSignal | undefined;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      const controller = new AbortController();
      this.#signal = controller.signal;
      this.#exchange.onClose(() => controller.abort());
    }
    return this.#signal;
  }
}
