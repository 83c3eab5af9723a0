export type { CacheServer, CloseOptions } from './cache-server.js';
export type { RequestListener } from './listeners.js';
export type { Limits, ServerOptions } from './options.js';
export { createServer } from './server.js';
export type { ServerStats, TerminationReason } from './stats.js';
