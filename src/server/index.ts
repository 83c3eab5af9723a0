export type { RequestListener } from './listeners.js';
export type { Limits, ServerOptions } from './options.js';
export { type CacheServer, createServer } from './server.js';
export type { ServerStats, TerminationReason } from './stats.js';
