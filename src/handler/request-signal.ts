import type { Exchange } from '../contract/exchange.js';

/**
 * The abort signal of a request, made when a store first looks at it: most lookups are over before anybody could abort
 * them, and an AbortController costs as much as the rest of such a request.
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
