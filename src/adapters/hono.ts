import type { Exchange } from '../contract/exchange.js';
import { assertOptions, invalidOption, MOUNT_PATH, type OptionCheck } from '../contract/validation.js';
import { assertHandler } from '../handler/assert-handler.js';
import type { ExchangeHandler } from '../handler/handler.js';
import type { SenderOptions } from '../handler/options.js';
import { answerFailure } from '../handler/reply.js';
import { createRouteSender, type Sender, type SendResult } from '../handler/sender.js';
import { mountPathRemover, targetOf } from './mount.js';
import { exchangeOf, type NodeRequest, type NodeResponse } from './node.js';
import { rethrow } from './response-error.js';
import { wrongFramework } from './route-arguments.js';

/** Part of a Hono context on `@hono/node-server` that the adapter uses. */
export interface HonoContext {
  /**
   * Object with `incoming` and `outgoing` of `@hono/node-server`. Its type is unknown, because most applications do not
   * declare these members.
   */
  readonly env: unknown;
  /** Request of Hono. */
  readonly req: {
    /** Absolute URL of the request. */
    readonly url: string;
  };
  /** Response with the headers that middleware has set. */
  readonly res: Response;
}

/** Options of {@link honoMiddleware}. */
export interface HonoMiddlewareOptions {
  /**
   * Path below which the middleware is mounted. It may have parameters. The adapter removes this path from URLs,
   * because Hono does not. Default: `/`.
   */
  readonly mountPath?: string | undefined;
}

const CHECKS: Readonly<Record<keyof HonoMiddlewareOptions, OptionCheck>> = { mountPath: MOUNT_PATH };

/**
 * Returns a middleware for Hono on `@hono/node-server`: `app.use('/cache/*', honoMiddleware(handler, { mountPath:
 * '/cache' }))`. Headers that outer middleware sets before `next()` are sent. Headers that it sets afterwards are lost,
 * because the response has already been sent.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or invalid option, or if `handler` is not a handler
 */
export function honoMiddleware(handler: ExchangeHandler, options: HonoMiddlewareOptions = {}) {
  assertHandler(handler);
  assertOptions(options, CHECKS);
  const removeMountPath = mountPathRemover(options.mountPath ?? '/');
  return async (context: HonoContext, next: () => Promise<void>): Promise<Response | undefined> => {
    const { outgoing } = nodeOf(context);
    const exchange = honoExchange(context, removeMountPath(targetOf(context.req.url)));
    try {
      if (await handler.handle(exchange)) return alreadySent(outgoing);
    } catch (error) {
      if (!exchange.headersSent) throw error;
      answerFailure(exchange, error);
      return alreadySent(outgoing);
    }
    await next();
    return undefined;
  };
}

/** Response that a Hono route must return. It has already been sent to the client, so only its status is meaningful. */
export interface SentResponse extends Response {
  /** Result of sending the artifact. */
  readonly result: SendResult;
}

/** Sender that {@link createSender} creates. Its methods resolve to the value that the route must return. */
export type HonoSender = Sender<[context: HonoContext], SentResponse>;

/**
 * Creates a sender for routes of Hono on `@hono/node-server`: `app.get('/a', (c) => hot.send(c, artifact))`. Create one
 * sender per server and use it in every route, because open files and limits belong to the sender.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or invalid option
 */
export function createSender(options: SenderOptions = {}): HonoSender {
  const sender = createRouteSender<[context: HonoContext]>(options, (context) => honoExchange(context));
  const { send, trySend } = sender;
  // The sender is extended instead of copied, because reports refer to this object.
  return Object.assign(sender, {
    send: async (context, artifact) => {
      const result = await send(context, artifact).catch(rethrow);
      return sentResponse(context, result);
    },
    trySend: async (context, artifact) => {
      const result = await trySend(context, artifact).catch(rethrow);
      return result !== false && sentResponse(context, result);
    },
  } satisfies Partial<HonoSender>);
}

function sentResponse(context: HonoContext, result: SendResult): SentResponse {
  return Object.assign(alreadySent(nodeOf(context).outgoing), { result });
}

interface NodeBindings {
  readonly incoming: NodeRequest;
  readonly outgoing: NodeResponse;
}

function nodeOf(context: HonoContext): NodeBindings {
  // Not `context.res`: reading it creates a response.
  if (context?.req?.url === undefined) throw wrongFramework('the context of Hono');
  const { env } = context;
  // Both members are absent on other runtimes and in app.request().
  if (!isNode(env))
    throw invalidOption('context.env', 'an object with incoming and outgoing, as @hono/node-server creates it', env);
  return env;
}

function isNode(env: unknown): env is NodeBindings {
  return typeof env === 'object' && env !== null && 'incoming' in env && 'outgoing' in env;
}

function honoExchange(context: HonoContext, url?: string): Exchange {
  const { incoming, outgoing } = nodeOf(context);
  return exchangeOf(incoming, outgoing, {
    url,
    beforeHeaders() {
      const { headers } = context.res;
      for (const [name, value] of headers) if (name !== 'set-cookie') outgoing.setHeader(name, value);
      const cookies = headers.getSetCookie();
      if (cookies.length > 0) outgoing.setHeader('set-cookie', cookies);
    },
  });
}

/**
 * Returns the response by which `@hono/node-server` knows that a response has already been sent. Its status is for
 * loggers.
 */
function alreadySent(outgoing: NodeResponse): Response {
  const response = new Response(null, { status: outgoing.statusCode, headers: { 'x-hono-already-sent': 'true' } });
  // @hono/node-server sends its lightweight Response without checking the headers. An access to `body` makes it create
  // the real Response.
  void response.body;
  return response;
}
