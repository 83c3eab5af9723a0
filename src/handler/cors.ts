import type { Exchange, ResponseHeaders } from '../contract/exchange.js';
import type { Reply } from '../protocols/protocol.js';

/** Seconds for which a browser may reuse the response to a preflight request. */
const PREFLIGHT_SECONDS = 600;

/** Lets pages of some origins use a handler: Cross-Origin Resource Sharing (Fetch standard, 3.3). */
export class Cors {
  readonly origins: ReadonlySet<string>;

  constructor(origins: readonly string[]) {
    this.origins = new Set(origins);
  }

  /**
   * Adds the headers of CORS to every response that is sent through `exchange`. Returns a function that ends this: another
   * handler may respond.
   */
  addTo(exchange: Exchange): () => void {
    const { origin } = exchange.headers;
    const { respond } = exchange;
    exchange.respond = (status, headers) => respond.call(exchange, status, this.#withHeaders(headers, origin));
    return () => {
      exchange.respond = respond;
    };
  }

  /** Returns the reply to a preflight request of an allowed origin; undefined for any other request. */
  preflightReply({ method, headers }: Exchange): Reply | undefined {
    const { origin, 'access-control-request-method': requested } = headers;
    if (method !== 'OPTIONS' || requested === undefined || origin === undefined || !this.origins.has(origin)) {
      return undefined;
    }
    // The answer to the request itself says what is not supported.
    return {
      status: 204,
      headers: {
        'access-control-allow-methods': requested,
        'access-control-allow-headers': headers['access-control-request-headers'] ?? '',
        'access-control-max-age': String(PREFLIGHT_SECONDS),
      },
    };
  }

  #withHeaders(headers: ResponseHeaders, origin: string | undefined): ResponseHeaders {
    // A shared cache must not give the response for one origin to another (RFC 9111, section 4.1).
    const vary = headers['vary'] === undefined ? 'origin' : `${headers['vary']}, origin`;
    if (origin === undefined || !this.origins.has(origin)) return { ...headers, vary };
    return {
      ...headers,
      vary,
      'access-control-allow-origin': origin,
      'access-control-expose-headers': '*',
    };
  }
}
