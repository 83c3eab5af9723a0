// Child process with a server under test. It sends its port, responds to the commands `reset` and `report`, and exits when its
// parent disconnects.

import { once } from 'node:events';
import { createServer as createHttp1Server, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { createRequire } from 'node:module';
import type { Server as NetServer } from 'node:net';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createHandler, directoryStore, type HandlerStats, segmentStore } from 'hotblob';
import { createDashboard } from 'hotblob/dashboard';
import { createMetrics } from 'hotblob/metrics';
import { nodeListener, streamListener } from 'hotblob/node';
import { createServer as createPort, type RequestListener } from 'hotblob/server';
import send from 'send';
import type * as Serve from '../../src/cli/serve/serve.js';
import type * as Options from '../../src/cli/serve/serve-options.js';
import { createApp, type Framework, type Way } from './framework-apps.js';
import { type InMemory, inMemory, plain } from './in-memory.js';

/**
 * Implementation under test: a way of a framework, a Buffer whose response has no headers but type and length, the package `send`, plain node:http or node:http2, hotblob without
 * monitoring, or the server of `hotblob serve` with all protocols.
 */
export type Contender = Way | 'plain Buffer' | 'send' | 'node' | 'unmonitored' | 'command';
export type Protocol = 'h1' | 'h2c';

export interface ServerConfig {
  readonly contender: Contender;
  readonly protocol: Protocol;
  /** Directory to serve below `/`. Default: none; a request listener responds to every request with 4 KiB. */
  readonly directory?: string;
  /** Kind of the store in `directory`. Default: a directory store. */
  readonly store?: StoreKind;
  /** Framework that routes the requests. Default: none. */
  readonly framework?: Framework;
  /** Names of the files that the contender `Buffer` loads. Default: none. */
  readonly names?: readonly string[];
  /** Monitoring endpoint of the server. Default: none. */
  readonly monitoring?: 'metrics' | 'page';
}

export type StoreKind = 'directory' | 'segments';

export type ServerCommand = 'reset' | 'report' | 'usage';

export interface ServerReady {
  readonly port: number;
}

/** Measurements since the last reset. */
export interface ServerReport {
  /** CPU time of the process since its start. */
  readonly cpuMicroseconds: number;
  readonly delayP99Ms: number;
  readonly delayMaxMs: number;
  /** Bytes sent by hotblob since the start. */
  readonly sent: HandlerStats['sent'] | undefined;
}

const config = JSON.parse(process.argv[2] ?? '') as ServerConfig;
const delay = monitorEventLoopDelay({ resolution: 1 });
let stats: (() => HandlerStats) | undefined;

/** The default of `hotblob/server`. The 5 s of node:http would close connections that are meant to stay idle. */
const KEEP_ALIVE_TIMEOUT_MS = 75_000;

const address = await start(config);
process.send?.({ port: typeof address === 'object' ? (address?.port ?? 0) : 0 } satisfies ServerReady);
process.on('disconnect', () => process.exit());
process.on('message', (command: ServerCommand) => {
  if (command === 'reset') {
    delay.enable();
    delay.reset();
  }
  const { user, system } = process.cpuUsage();
  process.send?.({
    cpuMicroseconds: user + system,
    delayP99Ms: delay.percentile(99) / 1e6,
    delayMaxMs: delay.max / 1e6,
    sent: stats?.().sent,
  } satisfies ServerReport);
});

type Address = ReturnType<NetServer['address']>;

async function start(config: ServerConfig): Promise<Address> {
  if (config.directory === undefined) return listenerPort(config);
  return config.contender === 'command' ? commandPort(config) : listening(await createServer(config));
}

async function listening(server: NetServer): Promise<Address> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server.address();
}

/** Starts a request listener on `hotblob/server`, or on node:http or node:http2. */
async function listenerPort({ contender, protocol }: ServerConfig): Promise<Address> {
  const bytes = Buffer.alloc(4096, 'x');
  const headers = { 'content-type': 'application/octet-stream', 'content-length': bytes.byteLength };
  const answer = (response: ServerResponse): void => void response.writeHead(200, headers).end(bytes);
  const listener: RequestListener = (request, response) => {
    if (request.method === 'PUT') request.resume().on('end', () => answer(response));
    else answer(response);
  };
  if (contender === 'node') {
    if (protocol === 'h1') return listening(createHttp1Server({ keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS }, listener));
    // A listener for 'request', as in `hotblob/server`. The types of the compatibility API differ from those of node:http.
    return listening(createHttp2Server(listener as (request: object, response: object) => void));
  }
  const port = createPort(listener);
  await port.listen({ port: 0, host: '127.0.0.1' });
  return port.address();
}

/** Starts the server of `hotblob serve` with its defaults, which include all protocols. */
async function commandPort({ directory = '', store }: ServerConfig): Promise<Address> {
  const require = createRequire(import.meta.url);
  const { serve }: typeof Serve = require('../../dist/cli/serve/serve.cjs');
  const { parseServeOptions }: typeof Options = require('../../dist/cli/serve/serve-options.cjs');
  const options = { dir: directory, port: '0', ...(store === 'segments' ? { store } : { immutable: true }) };
  const { port } = await serve(parseServeOptions('0.0.0', options));
  return { address: '127.0.0.1', family: 'IPv4', port };
}

async function createServer(config: ServerConfig): Promise<NetServer> {
  const { contender, protocol, framework, directory = '', names = [] } = config;
  const artifacts = new Map(names.map((name) => [name, inMemory(join(directory, name))]));
  if (framework !== undefined && (contender === 'hotblob' || contender === 'Buffer' || contender === 'usual')) {
    const app = await createApp(framework, { way: contender, directory, inMemory: artifacts });
    stats = app.stats;
    return app.server;
  }
  if (contender === 'plain Buffer') for (const [name, { bytes }] of artifacts) artifacts.set(name, plain(bytes));
  if (contender === 'Buffer' || contender === 'plain Buffer')
    return protocol === 'h1' ? bufferOverHttp1(artifacts) : bufferOverHttp2(artifacts);
  if (contender === 'send') return sendServer(protocol, directory);
  const store =
    config.store === 'segments' ? await segmentStore(directory) : await directoryStore(directory, { immutable: true });
  const handler = createHandler({ store });
  stats = () => handler.stats();
  if (protocol === 'h2c') return createHttp2Server().on('stream', streamListener(handler));
  const listener = nodeListener(handler);
  if (config.monitoring === 'page') {
    const page = nodeListener(createDashboard({ handler, store }));
    return createHttp1Server((request, response) => {
      if (request.url?.startsWith('/_hotblob/')) page(request, response);
      else listener(request, response);
    });
  }
  if (config.monitoring === 'metrics') {
    const metrics = createMetrics({ handlers: { cache: handler } });
    return createHttp1Server((request, response) => {
      if (request.url !== '/metrics') return listener(request, response);
      void metrics.text().then((text) => response.end(text));
    });
  }
  return createHttp1Server(listener);
}

function bufferOverHttp1(artifacts: ReadonlyMap<string, InMemory>): NetServer {
  return createHttp1Server((request, response) => {
    const artifact = artifacts.get(nameIn(request.url));
    if (artifact === undefined) response.writeHead(404).end();
    else response.writeHead(200, artifact.headers).end(artifact.bytes);
  });
}

function bufferOverHttp2(artifacts: ReadonlyMap<string, InMemory>): NetServer {
  // Buffers of 1 MiB on 16 streams exceed the default of 10 MB, and some requests would fail.
  return createHttp2Server({ maxSessionMemory: 1000 }).on('stream', (stream, headers) => {
    keepAlive(stream);
    const artifact = artifacts.get(nameIn(headers[':path']));
    stream.respond(artifact === undefined ? { ':status': 404 } : { ':status': 200, ...artifact.headers });
    stream.end(artifact?.bytes);
  });
}

function sendServer(protocol: Protocol, root: string): NetServer {
  if (protocol === 'h1') {
    return createHttp1Server((request, response) => {
      send(request, request.url ?? '/', { root }).pipe(response);
    });
  }
  return createHttp2Server((request, response) => {
    keepAlive(request.stream);
    // `send` supports the compatibility API, but its types do not.
    const compatible = request as unknown as IncomingMessage;
    send(compatible, request.url, { root }).pipe(response as unknown as ServerResponse);
  }).on('sessionError', () => {});
}

function nameIn(url = '/'): string {
  return url.slice(1);
}

/** Ignores errors of a stream. Without a listener, a stream that the client resets would crash the process. */
function keepAlive(stream: ServerHttp2Stream): void {
  stream.on('error', () => {});
}
