// Types of packages that ship none, limited to what tests and examples use.

declare module 'compression' {
  type Middleware = (request: object, response: object, next: (error?: unknown) => void) => void;
  export default function compression(options?: { threshold?: number }): Middleware;
}

declare module 'cookie-session' {
  type Middleware = (request: object, response: object, next: (error?: unknown) => void) => void;
  export default function cookieSession(options: { name?: string; keys: string[] }): Middleware;
}

// Aliases of other major versions, typed like the current version.

declare module 'express4' {
  export { default } from 'express';
}

declare module 'koa2' {
  export { default } from 'koa';
}

declare module 'cors' {
  type Middleware = (request: object, response: object, next: (error?: unknown) => void) => void;
  export default function cors(options?: { origin?: string; exposedHeaders?: string[] }): Middleware;
}

declare module 'morgan' {
  type Middleware = (request: object, response: object, next: (error?: unknown) => void) => void;
  export default function morgan(format: string, options?: { stream: { write(line: string): void } }): Middleware;
}

declare module 'on-finished' {
  export default function onFinished<Message>(
    message: Message,
    listener: (error: Error | null, message: Message) => void,
  ): Message;
}

declare module 'response-time' {
  type Middleware = (request: object, response: object, next: (error?: unknown) => void) => void;
  export default function responseTime(): Middleware;
}

declare module 'turborepo-remote-cache' {
  import type { FastifyInstance } from 'fastify';

  export function createApp(options?: { configOverrides?: Record<string, unknown> }): FastifyInstance;
}
