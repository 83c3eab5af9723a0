import type { Artifact } from '../contract/artifact.js';
import type { Exchange } from '../contract/exchange.js';
import { invalidOption } from '../contract/validation.js';
import type { ExchangeHandler } from '../handler/handler.js';
import type { SenderOptions } from '../handler/options.js';
import { belowMount } from './mount.js';
import { exchangeOf, type NodeRequest, type NodeResponse } from './node.js';
import { type RouteSender, routeSender } from './route-sender.js';

/** What is needed of Fastify's request. */
export interface FastifyRequest {
  /** Node's own. */
  readonly raw: NodeRequest;
}

/** What is needed of Fastify's reply. */
export interface FastifyReply {
  /** Node's own. */
  readonly raw: NodeResponse;
  /** What it is the reply to. */
  readonly request: FastifyRequest;
  /** Whether it has been sent, or taken from Fastify. */
  readonly sent: boolean;
  /** Headers set so far. */
  getHeaders(): Record<string, number | string | string[] | undefined>;
  /** Takes it from Fastify. */
  hijack(): unknown;
  /** Gives it to the not-found handler. */
  callNotFound(): unknown;
}

/** What {@link fastifyPlugin} needs of a Fastify instance. */
export interface FastifyInstance {
  /** The path that it is registered below. */
  readonly prefix: string;
  /** Methods that routes may have. */
  readonly supportedMethods: string[];
  /** Adds one to them. */
  addHttpMethod(method: string, options: { hasBody: boolean }): unknown;
  /** Forgets those of the parent. */
  removeAllContentTypeParsers(): void;
  /** Says what is done with bodies. */
  addContentTypeParser(
    type: '*',
    parser: (request: FastifyRequest, payload: unknown, done: (error: Error | null) => void) => void,
  ): unknown;
  /** Adds a route. */
  route(options: {
    /** Its methods. */
    method: string[];
    /** Its path below the prefix. */
    url: string;
    /** What answers. */
    handler: (request: FastifyRequest, reply: FastifyReply) => void;
  }): unknown;
}

/** What {@link fastifyPlugin} takes. */
export interface FastifyPluginOptions {
  /** What answers below the prefix. */
  readonly handler: ExchangeHandler;
  /** The path below which the handler answers; it may have parameters. Fastify's own option. Default: `/`. */
  readonly prefix?: string | undefined;
}

/** Methods of WebDAV that build tools send, and that Fastify refuses unless it is told of them. */
const FURTHER_METHODS = ['PROPFIND', 'MKCOL'];

/**
 * Mounts a handler into Fastify 5: `app.register(fastifyPlugin, { handler, prefix: '/cache' })`. Encapsulated: bodies are
 * left unparsed below the prefix only, and `bodyLimit` is not asked, `maxUploadBytes` of the handler is.
 *
 * The hooks onRequest, preParsing, preValidation and preHandler run before: authentication belongs there. The answer is
 * not a payload of Fastify's (`reply.hijack()`), so that preSerialization and onSend do not run; onResponse and onTimeout
 * do. Errors of the handler are answered by it. With `fallthrough`, what it cannot serve gets Fastify's not-found handler.
 */
export async function fastifyPlugin(instance: FastifyInstance, { handler }: FastifyPluginOptions): Promise<void> {
  if (typeof handler?.handle !== 'function') throw invalidOption('handler', 'a handler', handler);
  for (const method of FURTHER_METHODS) {
    if (!instance.supportedMethods.includes(method)) instance.addHttpMethod(method, { hasBody: true });
  }
  instance.removeAllContentTypeParsers();
  instance.addContentTypeParser('*', (_request, _payload, done) => done(null));
  const below = belowMount(instance.prefix);
  instance.route({
    method: [...instance.supportedMethods],
    url: '/*',
    // Without a promise: Fastify would take its end for an answer.
    handler(request, reply) {
      const exchange = fastifyExchange(request, reply, below(request.raw.url ?? '/'));
      void handler.handle(exchange).then((isOurs) => {
        if (!isOurs) reply.callNotFound();
        else if (!reply.sent) reply.hijack();
      });
    },
  });
}

/** What {@link createSender} makes. */
export type FastifySender = RouteSender<
  (request: FastifyRequest, reply: FastifyReply, artifact: Artifact) => Promise<boolean>
>;

/**
 * Makes a sender for routes of Fastify 5. One is enough for all routes of a server: budgets and open files are a
 * sender's. Headers set on the reply are sent along. What is sent is not a payload of Fastify's (`reply.hijack()`): onSend
 * and preSerialization do not run, onResponse does. What fails before the headers is left to the error handler.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function createSender(options: SenderOptions = {}): FastifySender {
  return routeSender(
    options,
    (sender) => (request, reply, artifact) => sender.send(fastifyExchange(request, reply), artifact),
  );
}

/** What {@link fastifySender} adds to replies. For TypeScript let your `FastifyReply` extend it (`declare module`). */
export interface ArtifactReply {
  /** See `send` of {@link RouteSender}. */
  sendArtifact(artifact: Artifact): Promise<boolean>;
}

/** What {@link fastifySender} needs of a Fastify instance. */
export interface FastifyDecorated {
  /** Adds a method to replies. */
  decorateReply(name: 'sendArtifact', method: (this: FastifyReply, artifact: Artifact) => Promise<boolean>): unknown;
  /** Says what is to be done when the application closes. */
  addHook(name: 'onClose', hook: () => Promise<void>): unknown;
}

async function decorate(instance: FastifyDecorated, options: SenderOptions = {}): Promise<void> {
  const sender = createSender(options);
  instance.decorateReply('sendArtifact', function (artifact) {
    return sender.send(this.request, this, artifact);
  });
  instance.addHook('onClose', async () => sender.close());
}

/**
 * Gives the replies of the instance that it is registered with, and of those below it, `sendArtifact(artifact)`. The sender
 * behind it is closed with the instance.
 */
export const fastifySender: (instance: FastifyDecorated, options?: SenderOptions) => Promise<void> = Object.assign(
  decorate,
  {
    // What the package fastify-plugin sets: the decoration is for who registers it, not for a scope of its own.
    [Symbol.for('skip-override')]: true,
    [Symbol.for('fastify.display-name')]: 'hotblob',
    [Symbol.for('plugin-meta')]: { name: 'hotblob', fastify: '5.x' },
  },
);

function fastifyExchange(request: FastifyRequest, reply: FastifyReply, url?: string): Exchange {
  return exchangeOf(request.raw, reply.raw, {
    url,
    prepare() {
      const headers = reply.getHeaders();
      for (const name in headers) {
        const value = headers[name];
        if (value !== undefined) reply.raw.setHeader(name, value);
      }
    },
    taken: () => reply.hijack(),
  });
}
