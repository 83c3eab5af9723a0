import type { Artifact } from '../contract/artifact.js';
import { clientMessage } from '../contract/errors.js';
import type { Exchange } from '../contract/exchange.js';
import { SendError } from '../contract/send-error.js';
import { assertOptions, invalidOption, type OptionCheck } from '../contract/validation.js';
import type { ExchangeHandler } from '../handler/handler.js';
import type { SenderOptions } from '../handler/options.js';
import { belowMount } from './mount.js';
import { exchangeOf, type NodeRequest, type NodeResponse } from './node.js';
import { type RouteSender, routeSender } from './route-sender.js';

/** What is needed of Hono's context, as it is on `@hono/node-server`. */
export interface HonoContext {
  /** With the `incoming` and `outgoing` of that server; unknown, because most applications do not say so in their types. */
  readonly env: unknown;
  /** The request, as Hono has routed it. */
  readonly req: {
    /** The whole URL. */
    readonly url: string;
  };
  /** Holds the headers that middleware has set. */
  readonly res: Response;
}

/** What {@link honoMiddleware} takes beside the handler. */
export interface HonoMiddlewareOptions {
  /** The path below which it is mounted, because Hono leaves URLs whole; it may have parameters. Default: `/`. */
  readonly mountPath?: string | undefined;
}

const CHECKS: Readonly<Record<keyof HonoMiddlewareOptions, OptionCheck>> = {
  mountPath: {
    expected: 'a path that starts with "/"',
    accepts: (value) => typeof value === 'string' && value.startsWith('/'),
  },
};

/**
 * A middleware for Hono on `@hono/node-server`: `app.use('/cache/*', honoMiddleware(handler, { mountPath: '/cache' }))`.
 * Headers that middleware in front sets before `next()` are sent along; after it they come too late.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function honoMiddleware(handler: ExchangeHandler, options: HonoMiddlewareOptions = {}) {
  assertOptions(options, CHECKS);
  const below = belowMount(options.mountPath ?? '/');
  return async (context: HonoContext, next: () => Promise<void>): Promise<Response | undefined> => {
    const { outgoing } = nodeOf(context);
    if (await handler.handle(honoExchange(context, below(targetOf(context))))) return alreadySent(outgoing);
    await next();
    return undefined;
  };
}

/** What {@link createSender} makes: it resolves to what the route has to return, or to undefined for a miss. */
export type HonoSender = RouteSender<(context: HonoContext, artifact: Artifact) => Promise<Response | undefined>>;

/**
 * Makes a sender for routes of Hono on `@hono/node-server`:
 * `app.get('/a', async (c) => (await hot.send(c, artifact)) ?? c.notFound())`. One is enough for all routes of a server:
 * budgets and open files are a sender's.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function createSender(options: SenderOptions = {}): HonoSender {
  return routeSender(options, (sender) => async (context, artifact) => {
    const { outgoing } = nodeOf(context);
    try {
      return (await sender.send(honoExchange(context), artifact)) ? alreadySent(outgoing) : undefined;
    } catch (error) {
      throw error instanceof SendError ? new HonoSendError(error.cause) : error;
    }
  });
}

/** What Hono's own error handling asks for an answer. */
class HonoSendError extends SendError {
  getResponse(): Response {
    return Response.json({ message: clientMessage(this.status) }, { status: this.status, headers: this.headers });
  }
}

interface NodeBindings {
  readonly incoming: NodeRequest;
  readonly outgoing: NodeResponse;
}

function nodeOf({ env }: HonoContext): NodeBindings {
  // On another runtime, and in app.request(), there are none.
  if (!isNode(env)) throw invalidOption('context.env', 'the incoming and outgoing of @hono/node-server', env);
  return env;
}

function isNode(env: unknown): env is NodeBindings {
  return typeof env === 'object' && env !== null && 'incoming' in env && 'outgoing' in env;
}

function honoExchange(context: HonoContext, url?: string): Exchange {
  const { incoming, outgoing } = nodeOf(context);
  return exchangeOf(incoming, outgoing, {
    url,
    prepare() {
      const { headers } = context.res;
      for (const [name, value] of headers) if (name !== 'set-cookie') outgoing.setHeader(name, value);
      const cookies = headers.getSetCookie();
      if (cookies.length > 0) outgoing.setHeader('set-cookie', cookies);
    },
  });
}

/** Path and query as Hono has routed them: without the dots that the client's own may have. */
function targetOf({ req }: HonoContext): string {
  const { pathname, search } = new URL(req.url);
  return pathname + search;
}

/** What tells `@hono/node-server` that nothing is left to send. The status is for loggers. */
function alreadySent(outgoing: NodeResponse): Response {
  const response = new Response(null, { status: outgoing.statusCode, headers: { 'x-hono-already-sent': 'true' } });
  // The server has a Response of its own, which it sends without looking at its headers until somebody has asked for more.
  void response.body;
  return response;
}
