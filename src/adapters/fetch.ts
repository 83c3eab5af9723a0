import { clientMessage } from '../contract/errors.js';
import { clientGoneError } from '../contract/exchange.js';
import { assertOptions, MOUNT_PATH, type OptionCheck } from '../contract/validation.js';
import { assertHandler } from '../handler/assert-handler.js';
import type { ExchangeHandler } from '../handler/handler.js';
import type { SenderOptions } from '../handler/options.js';
import { answerFailure } from '../handler/reply.js';
import { createRouteSender, type Sender } from '../handler/sender.js';
import { REPLY_HEADERS } from '../http/browser-headers.js';
import { FetchExchange } from './fetch-exchange.js';
import { matchMount, targetOf } from './mount.js';
import { ResponseError, rethrow } from './response-error.js';
import { wrongFramework } from './route-arguments.js';

/** Status code of a response that the client does not receive, because it has aborted the request. */
const CLIENT_GONE = 499;

/** Options of {@link fetchHandler}. */
export interface FetchHandlerOptions<Rest extends readonly unknown[] = []> {
  /**
   * Path below which the handler responds. It may have parameters, as in `/:team/cache`. The adapter removes this path
   * from URLs. Default: `/`.
   */
  readonly mountPath?: string | undefined;
  /**
   * Function that returns the response to a request that the handler does not handle. It receives the arguments of the
   * function that {@link fetchHandler} returns. Default: a response with status 404.
   */
  readonly notFound?: ((request: Request, ...rest: Rest) => Response | Promise<Response>) | undefined;
}

const CHECKS: Readonly<Record<keyof FetchHandlerOptions, OptionCheck>> = {
  mountPath: MOUNT_PATH,
  notFound: { expected: 'a function', accepts: (value) => typeof value === 'function' },
};

/**
 * Returns a function from Request to Response, for servers of the Fetch API: Hono on Bun, Next.js route handlers,
 * SvelteKit.
 *
 * The function resolves when status and headers are known. The body is a stream: its chunks are copies of at most 256
 * KiB, made when the consumer reads them, and files are not mapped. If the signal of the request is aborted first, the
 * function resolves to a response with status 499. It rejects if `notFound` throws. It also rejects if `handler` is an object
 * of yours around a handler, and its `handle` rejects before the headers are sent.
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
    assertRequest(request);
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
            // This can happen only with a handler that wraps others and does not respond.
            if (!exchange.headersSent) exchange.destroy(new Error('the handler did not respond'));
            return;
          }
          exchange.release();
          response.resolve(await notFound(request, ...rest));
        })
        .catch((error) => {
          if (exchange.headersSent) answerFailure(exchange, error);
          else response.reject(error);
        });
    });
  };
}

function missing(): Response {
  return Response.json(
    { message: clientMessage(404) },
    { status: 404, headers: { ...REPLY_HEADERS, 'cache-control': 'no-store' } },
  );
}

/** Sender that {@link createSender} creates. Its methods resolve when status and headers are known. */
export type FetchSender = Sender<[request: Request], Response>;

/**
 * Creates a sender for routes of the Fetch API: `return hot.send(request, artifact)`. Create one sender per server and
 * use it in every route, because open files and limits belong to the sender.
 *
 * `send` and `trySend` resolve to the response when status and headers are known. The body is a stream that the
 * consumer reads. Errors have a method `getResponse()`, which returns the error response.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or invalid option
 */
export function createSender(options: SenderOptions = {}): FetchSender {
  const sender = createRouteSender<[exchange: FetchExchange]>(options, (exchange) => exchange);
  const { send, trySend } = sender;
  // The sender is extended instead of copied, because reports refer to this object.
  return Object.assign(sender, {
    // The cast is safe: `send` of the sender never resolves to false.
    send: (request, artifact) => responseOf(request, (exchange) => send(exchange, artifact)) as Promise<Response>,
    trySend: (request, artifact) => responseOf(request, (exchange) => trySend(exchange, artifact)),
  } satisfies Partial<FetchSender>);
}

/** Resolves to the response when its headers are known. Resolves to false if `send` resolves to false. */
function responseOf(request: Request, send: (exchange: FetchExchange) => Promise<unknown>): Promise<Response | false> {
  return new Promise((resolve, reject) => {
    assertRequest(request);
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

function assertRequest(request: Request): void {
  if (typeof request?.headers?.get !== 'function') throw wrongFramework('the Request of the Fetch API');
}

/**
 * Promise of a response that is settled from outside. It drops its references when it is settled: an exchange that
 * references its response could not detect that the host has dropped it.
 */
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
