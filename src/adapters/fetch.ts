import { clientMessage } from '../contract/errors.js';
import { assertOptions, type OptionCheck } from '../contract/validation.js';
import { assertHandler } from '../handler/assert-handler.js';
import type { ExchangeHandler } from '../handler/handler.js';
import type { SenderOptions } from '../handler/options.js';
import { clientGoneError, createRouteSender, type Sender } from '../handler/sender.js';
import { FetchExchange } from './fetch-exchange.js';
import { MOUNT_PATH, matchMount, targetOf } from './mount.js';
import { ResponseError, rethrow } from './response-error.js';

/** Status of a response that no client receives, because its request was aborted. */
const CLIENT_GONE = 499;

/** Options of {@link fetchHandler}. */
export interface FetchHandlerOptions<Rest extends readonly unknown[] = []> {
  /** Path below which the handler responds; may have parameters, as in `/:team/cache`. Removed from URLs. Default: `/`. */
  readonly mountPath?: string | undefined;
  /**
   * Responds to a request that the handler does not handle. Receives all arguments of the function that {@link fetchHandler} returns.
   * Default: 404.
   */
  readonly notFound?: ((request: Request, ...rest: Rest) => Response | Promise<Response>) | undefined;
}

const CHECKS: Readonly<Record<keyof FetchHandlerOptions, OptionCheck>> = {
  mountPath: MOUNT_PATH,
  notFound: { expected: 'a function', accepts: (value) => typeof value === 'function' },
};

/**
 * Returns a function from Request to Response, for servers of the Fetch API: Hono on Bun, Next.js route handlers, SvelteKit.
 *
 * The function resolves when status and headers are decided. The body then streams as the consumer reads it, in copies of at most
 * 256 KiB: files are not mapped. If the signal of the request aborts first, the function resolves to a response with status 499.
 * It rejects only if `notFound` throws.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or invalid option, or if `handler` is not a handler
 */
export function fetchHandler<Rest extends readonly unknown[] = []>(
  handler: ExchangeHandler,
  options: FetchHandlerOptions<Rest> = {},
): (request: Request, ...rest: Rest) => Promise<Response> {
  assertHandler(handler);
  assertOptions(options, CHECKS);
  const below = matchMount(options.mountPath ?? '/');
  const notFound = options.notFound ?? missing;
  return async (request, ...rest) => {
    const url = below(targetOf(request.url));
    if (url === undefined) return notFound(request, ...rest);
    return new Promise((resolve, reject) => {
      const response = new PendingResponse<Response>(resolve, reject);
      const exchange = new FetchExchange(request, url, (sent) => response.resolve(sent));
      exchange.onClose(() => {
        if (!exchange.headersSent) response.resolve(new Response(null, { status: CLIENT_GONE }));
      });
      handler
        .handle(exchange)
        .then(async (isHandled) => {
          if (isHandled) {
            // Only a handler that wraps others can have forgotten to respond.
            if (!exchange.headersSent) exchange.destroy(new Error('the handler did not respond'));
            return;
          }
          exchange.release();
          response.resolve(await notFound(request, ...rest));
        })
        .catch((error) => response.reject(error));
    });
  };
}

function missing(): Response {
  return Response.json({ message: clientMessage(404) }, { status: 404, headers: { 'cache-control': 'no-store' } });
}

/** Sender that {@link createSender} creates. It resolves when status and headers are decided. */
export type FetchSender = Sender<[request: Request], Response>;

/**
 * Creates a sender for routes of the Fetch API: `return hot.send(request, artifact)`. Create one per server and use it in every
 * route: descriptors and limits belong to the sender.
 *
 * `send` and `trySend` resolve to the response when status and headers are decided; the body then streams as the consumer reads it.
 * The errors have a method `getResponse()`, which returns their response.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or invalid option
 */
export function createSender(options: SenderOptions = {}): FetchSender {
  const sender = createRouteSender<[exchange: FetchExchange]>(options, (exchange) => exchange);
  const { send, trySend } = sender;
  // The same object, because reports name it.
  return Object.assign(sender, {
    // Does not resolve to false: `send` of the sender does not.
    send: (request, artifact) => responseOf(request, (exchange) => send(exchange, artifact)) as Promise<Response>,
    trySend: (request, artifact) => responseOf(request, (exchange) => trySend(exchange, artifact)),
  } satisfies Partial<FetchSender>);
}

/** Resolves to the response when its headers are decided, or to false if `send` does. */
function responseOf(request: Request, send: (exchange: FetchExchange) => Promise<unknown>): Promise<Response | false> {
  return new Promise((resolve, reject) => {
    const response = new PendingResponse<Response | false>(resolve, reject);
    const exchange = new FetchExchange(request, targetOf(request.url), (sent) => response.resolve(sent));
    exchange.onClose(() => {
      if (!exchange.headersSent) response.reject(new ResponseError(clientGoneError()));
    });
    send(exchange)
      .then((result) => {
        if (result !== false) return;
        exchange.release();
        response.resolve(false);
      }, rethrow)
      .catch((error) => response.reject(error));
  });
}

/** Settles a promise, and then forgets it: an exchange that held its response could not tell when the host drops it. */
class PendingResponse<T> {
  #resolve: ((value: T) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;

  constructor(resolve: (value: T) => void, reject: (error: unknown) => void) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  resolve(value: T): void {
    const resolve = this.#resolve;
    this.#forget();
    resolve?.(value);
  }

  reject(error: unknown): void {
    const reject = this.#reject;
    this.#forget();
    reject?.(error);
  }

  #forget(): void {
    this.#resolve = undefined;
    this.#reject = undefined;
  }
}
