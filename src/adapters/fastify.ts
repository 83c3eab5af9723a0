import type { Artifact } from '../contract/artifact.js';
import type { Exchange } from '../contract/exchange.js';
import { assertHandler } from '../handler/assert-handler.js';
import type { ExchangeHandler } from '../handler/handler.js';
import type { SenderOptions } from '../handler/options.js';
import { createRouteSender, type Sender, type SendResult } from '../handler/sender.js';
import { mountPathRemover } from './mount.js';
import { exchangeOf, type NodeRequest, type NodeResponse } from './node.js';

/** Part of a Fastify request that the adapter uses. */
export interface FastifyRequest {
  /** Request of Node. */
  readonly raw: NodeRequest;
}

/** Part of a Fastify reply that the adapter uses. */
export interface FastifyReply {
  /** Response of Node. */
  readonly raw: NodeResponse;
  /** Request that the reply belongs to. */
  readonly request: FastifyRequest;
  /** Whether the reply has been sent or hijacked. */
  readonly sent: boolean;
  /** Returns the headers that have been set. */
  getHeaders(): Record<string, number | string | string[] | undefined>;
  /** Keeps Fastify from responding. */
  hijack(): unknown;
  /** Sends a payload or an error. */
  send(payload: unknown): unknown;
  /** Calls the not-found handler. */
  callNotFound(): unknown;
}

/** Part of a Fastify instance that {@link fastifyPlugin} uses. */
export interface FastifyInstance {
  /** Path that the plugin is registered below. */
  readonly prefix: string;
  /** Methods that routes may have. */
  readonly supportedMethods: string[];
  /** Adds a method to `supportedMethods`. */
  addHttpMethod(method: string, options: { hasBody: boolean }): unknown;
  /** Removes the content type parsers that the parent has added. */
  removeAllContentTypeParsers(): void;
  /** Adds a parser for request bodies. */
  addContentTypeParser(
    type: '*',
    parser: (request: FastifyRequest, payload: unknown, done: (error: Error | null) => void) => void,
  ): unknown;
  /** Adds a route. */
  route(options: {
    /** Methods of the route. */
    method: string[];
    /** Path of the route below the prefix. */
    url: string;
    /** Responds to requests. */
    handler: (request: FastifyRequest, reply: FastifyReply) => void;
  }): unknown;
}

/** Options of {@link fastifyPlugin}. */
export interface FastifyPluginOptions {
  /** Handler for the requests below the prefix. */
  readonly handler: ExchangeHandler;
  /** Path below which the handler responds; may have parameters. An option of Fastify itself. Default: `/`. */
  readonly prefix?: string | undefined;
}

/** WebDAV methods that build tools send. Fastify rejects them unless they are added. */
const WEBDAV_METHODS = ['PROPFIND', 'MKCOL'];

/**
 * Mounts a handler into Fastify 5: `app.register(fastifyPlugin, { handler, prefix: '/cache' })`. The plugin is encapsulated: request
 * bodies stay unparsed below the prefix only. The handler's `maxUploadBytes` applies instead of `bodyLimit`.
 *
 * The hooks onRequest, preParsing, preValidation and preHandler run before the handler; put authentication there. The response
 * bypasses Fastify (`reply.hijack()`), so preSerialization and onSend do not run; onResponse and onTimeout do. The handler responds to
 * its own errors. With `fallthrough`, a request that it does not handle goes to the not-found handler of Fastify.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `handler` is not a handler
 */
export async function fastifyPlugin(instance: FastifyInstance, { handler }: FastifyPluginOptions): Promise<void> {
  assertHandler(handler);
  for (const method of WEBDAV_METHODS) {
    if (!instance.supportedMethods.includes(method)) instance.addHttpMethod(method, { hasBody: true });
  }
  instance.removeAllContentTypeParsers();
  instance.addContentTypeParser('*', (_request, _payload, done) => done(null));
  const removeMountPath = mountPathRemover(instance.prefix);
  instance.route({
    method: [...instance.supportedMethods],
    url: '/*',
    // Not async: Fastify would send a response when the promise resolves.
    handler(request, reply) {
      const exchange = fastifyExchange(request, reply, removeMountPath(request.raw.url ?? '/'));
      handler.handle(exchange).then(
        (isHandled) => {
          if (!isHandled) reply.callNotFound();
          else if (!reply.sent) reply.hijack();
        },
        // handle() of a Handler never rejects, but that of a wrapper may.
        (error: unknown) => reply.send(error),
      );
    },
  });
}

/** Sender for routes of Fastify. */
export type FastifySender = Sender<[request: FastifyRequest, reply: FastifyReply]>;

/**
 * Creates a sender for routes of Fastify 5. Create one per server and use it in every route: descriptors and limits belong to the
 * sender. Headers set on the reply are sent. The response bypasses Fastify (`reply.hijack()`): onSend and preSerialization do not
 * run, onResponse does. An error before the headers goes to the error handler.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or invalid option
 */
export function createSender(options: SenderOptions = {}): FastifySender {
  return createRouteSender(options, (request, reply) => fastifyExchange(request, reply));
}

/** Methods that {@link fastifySender} adds to replies. In TypeScript, extend `FastifyReply` with it (`declare module 'fastify'`). */
export interface ArtifactReply {
  /** See {@link Sender.send}. */
  sendArtifact(artifact: Artifact): Promise<SendResult>;
  /** See {@link Sender.trySend}. */
  trySendArtifact(artifact: Artifact): Promise<SendResult | false>;
}

/** Part of a Fastify instance that {@link fastifySender} uses. */
export interface FastifyDecorated {
  /** Adds a method to replies. */
  decorateReply(
    name: 'sendArtifact' | 'trySendArtifact',
    method: (this: FastifyReply, artifact: Artifact) => Promise<SendResult | false>,
  ): unknown;
  /** Adds a hook that runs when the application closes. */
  addHook(name: 'onClose', hook: () => Promise<void>): unknown;
}

async function decorate(instance: FastifyDecorated, options: SenderOptions = {}): Promise<void> {
  const sender = createSender(options);
  instance.decorateReply('sendArtifact', function (artifact) {
    return sender.send(this.request, this, artifact);
  });
  instance.decorateReply('trySendArtifact', function (artifact) {
    return sender.trySend(this.request, this, artifact);
  });
  instance.addHook('onClose', async () => sender.close());
}

/**
 * Fastify plugin that adds `sendArtifact(artifact)` and `trySendArtifact(artifact)` to the replies of the instance that registers it
 * and of its children. Its sender is closed with the instance.
 */
export const fastifySender: (instance: FastifyDecorated, options?: SenderOptions) => Promise<void> = Object.assign(
  decorate,
  {
    // The properties that the package fastify-plugin sets: the decoration is visible to the instance that registers the plugin.
    [Symbol.for('skip-override')]: true,
    [Symbol.for('fastify.display-name')]: 'hotblob',
    [Symbol.for('plugin-meta')]: { name: 'hotblob', fastify: '5.x' },
  },
);

function fastifyExchange(request: FastifyRequest, reply: FastifyReply, url?: string): Exchange {
  return exchangeOf(request.raw, reply.raw, {
    url,
    beforeHeaders() {
      const headers = reply.getHeaders();
      for (const name in headers) {
        const value = headers[name];
        if (value !== undefined) reply.raw.setHeader(name, value);
      }
    },
    onHeadersSent: () => reply.hijack(),
  });
}
