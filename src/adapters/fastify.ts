import type { Artifact } from '../contract/artifact.js';
import type { Exchange } from '../contract/exchange.js';
import { invalidOption } from '../contract/validation.js';
import { assertHandler } from '../handler/assert-handler.js';
import type { ExchangeHandler } from '../handler/handler.js';
import type { SenderOptions } from '../handler/options.js';
import { answerFailure } from '../handler/reply.js';
import { createRouteSender, type Sender, type SendResult } from '../handler/sender.js';
import { mountPathRemover } from './mount.js';
import { exchangeOf, type NodeRequest, type NodeResponse } from './node.js';
import { assertNode } from './route-arguments.js';

/** Part of a Fastify request that the adapter uses. */
export interface FastifyRequest {
  /** Request of Node. */
  readonly raw: NodeRequest;
}

/** Part of a Fastify reply that the adapter uses. */
export interface FastifyReply {
  /** Response of Node. */
  readonly raw: NodeResponse;
  /** Request to which the reply belongs. */
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
  /** Path below which the plugin is registered. */
  readonly prefix: string;
  /** Methods that routes may have. */
  readonly supportedMethods: string[];
  /** Adds a method to `supportedMethods`. */
  addHttpMethod(method: string, options: { hasBody: boolean }): unknown;
  /** Removes the content type parsers that the parent instance has added. */
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
  /**
   * Path below which the handler responds. It may have parameters. Fastify itself evaluates this option. Default: `/`.
   */
  readonly prefix?: string | undefined;
}

/** WebDAV methods that build tools use. Fastify rejects requests with these methods unless the methods are added. */
const WEBDAV_METHODS = ['PROPFIND', 'MKCOL'];

/**
 * Mounts a handler into Fastify 5: `app.register(fastifyPlugin, { handler, prefix: '/cache' })`. The plugin is
 * encapsulated: only below the prefix are request bodies not parsed. There, the handler's `maxUploadBytes` applies
 * instead of `bodyLimit`.
 *
 * The hooks onRequest, preParsing, preValidation and preHandler run before the handler, so authentication can be done
 * there. The response bypasses Fastify (`reply.hijack()`): onResponse and onTimeout run, preSerialization and onSend do
 * not. If the handler fails, it sends the error response itself. With `fallthrough`, a request that the handler does
 * not handle is passed to the not-found handler of Fastify.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `handler` is not a handler
 */
export async function fastifyPlugin(instance: FastifyInstance, options: FastifyPluginOptions): Promise<void> {
  if (options === undefined)
    throw invalidOption('options', 'app.register(fastifyPlugin, { handler })', 'a direct call');
  const { handler } = options;
  if (handler === undefined) throw invalidOption('options', 'app.register(fastifyPlugin, { handler })', 'no handler');
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
    // This function is not async, because Fastify would send a response when the promise resolves.
    handler(request, reply) {
      const exchange = fastifyExchange(request, reply, removeMountPath(request.raw.url ?? '/'));
      handler.handle(exchange).then(
        (isHandled) => {
          if (!isHandled) reply.callNotFound();
          else if (!reply.sent) reply.hijack();
        },
        // handle() of a Handler never rejects, but handle() of a wrapper may.
        (error: unknown) => (exchange.headersSent ? answerFailure(exchange, error) : reply.send(error)),
      );
    },
  });
}

/** Sender for routes of Fastify. */
export type FastifySender = Sender<[request: FastifyRequest, reply: FastifyReply]>;

/**
 * Creates a sender for routes of Fastify 5. Create one sender per server and use it in every route, because open files
 * and limits belong to the sender. Headers that are set on the reply are sent. The response bypasses Fastify
 * (`reply.hijack()`): onResponse runs, preSerialization and onSend do not. An error that occurs before the headers is
 * passed to the error handler.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or invalid option
 */
export function createSender(options: SenderOptions = {}): FastifySender {
  return createRouteSender(options, (request, reply) => fastifyExchange(request, reply));
}

/**
 * Methods that {@link fastifySender} adds to replies. In TypeScript, extend `FastifyReply` with this interface
 * (`declare module 'fastify'`).
 */
export interface ArtifactReply {
  /** Sends an artifact. See {@link Sender.send}. */
  sendArtifact(artifact: Artifact): Promise<SendResult>;
  /** Sends an artifact if it exists. See {@link Sender.trySend}. */
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
 * Fastify plugin that adds `sendArtifact(artifact)` and `trySendArtifact(artifact)` to the replies of the instance that
 * registers the plugin, and of child instances. When the instance is closed, the sender of the plugin is closed too.
 */
export const fastifySender: (instance: FastifyDecorated, options?: SenderOptions) => Promise<void> = Object.assign(
  decorate,
  {
    // These are the properties that the package fastify-plugin sets. They make the decoration visible to the instance
    // that registers the plugin.
    [Symbol.for('skip-override')]: true,
    [Symbol.for('fastify.display-name')]: 'hotblob',
    [Symbol.for('plugin-meta')]: { name: 'hotblob', fastify: '5.x' },
  },
);

function fastifyExchange(request: FastifyRequest, reply: FastifyReply, url?: string): Exchange {
  assertNode(request?.raw, reply?.raw, 'the request and reply of Fastify');
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
