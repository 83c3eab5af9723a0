/** A server under test, in a process of its own: says which port it has, answers `reset` and `report`, ends with its parent. */
import { once } from 'node:events';
import { createServer as createHttp1Server, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import type { Server as NetServer } from 'node:net';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createHandler, directoryStore, type HandlerStats } from 'hotblob';
import { createDashboard } from 'hotblob/dashboard';
import { createMetrics } from 'hotblob/metrics';
import { nodeListener, streamListener } from 'hotblob/node';
import { createServer as createPort, type RequestListener } from 'hotblob/server';
import send from 'send';
import { createApp, type Framework, type Way } from './framework-apps.js';
import { type InMemory, inMemory } from './in-memory.js';

/**
 * Who serves: a way of a framework, the package `send`, node:http and node:http2 without anything, or this package with
 * nobody looking.
 */
export type Contender = Way | 'send' | 'node' | 'unwatched';
export type Protocol = 'h1' | 'h2c';

export interface ServerConfig {
  readonly contender: Contender;
  readonly protocol: Protocol;
  /** Served below `/`. Default: none, one listener answers everything with 4 KiB, and what is compared is its port. */
  readonly directory?: string;
  /** In what. Default: in node:http or node:http2 alone, without routes. */
  readonly framework?: Framework;
  /** The files that a Buffer is made of. Default: none. */
  readonly names?: readonly string[];
  /** Who may look at this package's figures. Default: nobody. */
  readonly watch?: 'metrics' | 'page';
}

export type ServerCommand = 'reset' | 'report';

export interface ServerReady {
  readonly port: number;
}

/** What has happened since the last reset. */
export interface ServerReport {
  readonly delayP99Ms: number;
  readonly delayMaxMs: number;
  /** Since the start, of this package only. */
  readonly sent: HandlerStats['sent'] | undefined;
}

const config = JSON.parse(process.argv[2] ?? '') as ServerConfig;
const delay = monitorEventLoopDelay({ resolution: 1 });
let stats: (() => HandlerStats) | undefined;

/** What a port of this package has; node:http's own 5 s would end connections that are meant to be idle. */
const KEEP_ALIVE_TIMEOUT_MS = 75_000;

const address = await (config.directory === undefined ? listenerPort(config) : listening(await createServer(config)));
process.send?.({ port: typeof address === 'object' ? (address?.port ?? 0) : 0 } satisfies ServerReady);
delay.enable();
process.on('disconnect', () => process.exit());
process.on('message', (command: ServerCommand) => {
  if (command === 'reset') delay.reset();
  process.send?.({
    delayP99Ms: delay.percentile(99) / 1e6,
    delayMaxMs: delay.max / 1e6,
    sent: stats?.().sent,
  } satisfies ServerReport);
});

type Address = ReturnType<NetServer['address']>;

async function listening(server: NetServer): Promise<Address> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server.address();
}

/** One listener, on a port of this package or of Node. */
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
    // On 'request', as on our port: node:http2's compatibility API stands in for node:http, and its types do not say so.
    return listening(createHttp2Server(listener as (request: object, response: object) => void));
  }
  const port = createPort(listener);
  await port.listen({ port: 0, host: '127.0.0.1' });
  return port.address();
}

async function createServer(config: ServerConfig): Promise<NetServer> {
  const { contender, protocol, framework, directory = '', names = [] } = config;
  const artifacts = new Map(names.map((name) => [name, inMemory(join(directory, name))]));
  if (framework !== undefined && contender !== 'send' && contender !== 'node' && contender !== 'unwatched') {
    const app = await createApp(framework, { way: contender, directory, inMemory: artifacts });
    stats = app.stats;
    return app.server;
  }
  if (contender === 'Buffer') return protocol === 'h1' ? bufferOverHttp1(artifacts) : bufferOverHttp2(artifacts);
  if (contender === 'send') return sendServer(protocol, directory);
  const store = await directoryStore(directory, { immutable: true });
  const handler = createHandler({ store });
  stats = () => handler.stats();
  if (protocol === 'h2c') return createHttp2Server().on('stream', streamListener(handler));
  const listener = nodeListener(handler);
  if (config.watch === 'page') {
    const page = nodeListener(createDashboard({ handler, store }));
    return createHttp1Server((request, response) => {
      if (request.url?.startsWith('/_hotblob/')) page(request, response);
      else listener(request, response);
    });
  }
  if (config.watch === 'metrics') {
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
  // Whole Buffers of 1 MiB on 16 streams are more than the default of 10 MB, which would fail a part of the requests.
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
    // The compatibility API stands in for node:http; the types of `send` do not know it.
    const compatible = request as unknown as IncomingMessage;
    send(compatible, request.url, { root }).pipe(response as unknown as ServerResponse);
  }).on('sessionError', () => {});
}

function nameIn(url = '/'): string {
  return url.slice(1);
}

/** Without a listener the first stream that a client resets would end the process. */
function keepAlive(stream: ServerHttp2Stream): void {
  stream.on('error', () => {});
}
