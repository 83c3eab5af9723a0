import http, { type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http';
import http2, { type ClientHttp2Session } from 'node:http2';
import https from 'node:https';
import { Readable } from 'node:stream';
import type { RunningServer } from './servers.js';

export interface Request {
  readonly method?: string | undefined;
  readonly path?: string | undefined;
  readonly headers?: OutgoingHttpHeaders | undefined;
  /** Bytes are sent with Content-Length, an iterable without. */
  readonly body?: Uint8Array | AsyncIterable<Uint8Array> | undefined;
  /** Aborts the request, like a client that disconnects. */
  readonly signal?: AbortSignal | undefined;
}

export interface Response {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

const TIMEOUT_MS = 60_000;

/**
 * Sends a request with the HTTP version of the server, without retries. Resolves when the whole response has arrived, even if
 * the request body has not been sent completely. Rejects if the response is aborted.
 */
export async function request(server: RunningServer, options: Request = {}): Promise<Response> {
  const timeout = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, timeout.signal]) : timeout.signal;
  const timer = setTimeout(() => timeout.abort(), TIMEOUT_MS);
  try {
    return await (server.version === 1 ? requestHttp1 : requestHttp2)(server, { ...options, signal });
  } catch (cause) {
    if (!timeout.signal.aborted) throw cause;
    const { method = 'GET', path = '/' } = options;
    throw new Error(`${server.kind}: no response to ${method} ${path} within ${TIMEOUT_MS} ms`, { cause });
  } finally {
    clearTimeout(timer);
  }
}

const agents = new WeakMap<RunningServer, http.Agent>();

function agentOf(server: RunningServer): http.Agent {
  let agent = agents.get(server);
  if (agent === undefined) {
    agent = new (server.tls ? https : http).Agent({ keepAlive: true });
    agents.set(server, agent);
  }
  return agent;
}

function requestHttp1(server: RunningServer, options: Request): Promise<Response> {
  const { method, path, headers, body, signal } = options;
  return new Promise((resolve, reject) => {
    const outgoing = (server.tls ? https : http).request({
      host: '127.0.0.1',
      port: server.port,
      agent: agentOf(server),
      ca: server.certificate?.cert,
      method,
      path,
      headers: withLength(headers, body),
      signal,
    });
    outgoing.on('error', reject).on('response', (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject);
      incoming.on('end', () => {
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(chunks) });
        if (!outgoing.writableFinished) outgoing.destroy();
      });
    });
    sendBody(outgoing, body, reject);
  });
}

const sessions = new WeakMap<RunningServer, ClientHttp2Session>();

/** Returns the session that all requests to a server share. */
export function sessionOf(server: RunningServer): ClientHttp2Session {
  let session = sessions.get(server);
  if (session === undefined || session.closed || session.destroyed) {
    const scheme = server.tls ? 'https' : 'http';
    session = http2.connect(`${scheme}://127.0.0.1:${server.port}`, { ca: server.certificate?.cert });
    // The error is emitted on every stream, too.
    session.on('error', () => {});
    sessions.set(server, session);
  }
  return session;
}

function requestHttp2(server: RunningServer, options: Request): Promise<Response> {
  const { method = 'GET', path = '/', headers, body, signal } = options;
  return new Promise((resolve, reject) => {
    const stream = sessionOf(server).request(
      { ...withLength(headers, body), ':method': method, ':path': path },
      { endStream: body === undefined, ...(signal && { signal }) },
    );
    const chunks: Buffer[] = [];
    let status = 0;
    const received: IncomingHttpHeaders = {};
    let hasEnded = false;
    stream.on('response', (head) => {
      status = Number(head[':status']);
      // Without pseudo-headers, and without the symbol properties that Node adds.
      for (const [name, value] of Object.entries(head)) if (!name.startsWith(':')) received[name] = value;
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject);
    stream.on('end', () => {
      hasEnded = status !== 0;
    });
    stream.on('close', () => {
      if (hasEnded && stream.rstCode === http2.constants.NGHTTP2_NO_ERROR) {
        resolve({ status, headers: received, body: Buffer.concat(chunks) });
      } else {
        reject(new Error(`the stream was reset with code ${stream.rstCode}`));
      }
    });
    if (body !== undefined) sendBody(stream, body, reject);
  });
}

function withLength(headers: OutgoingHttpHeaders | undefined, body: Request['body']): OutgoingHttpHeaders {
  return body instanceof Uint8Array ? { 'content-length': body.byteLength, ...headers } : { ...headers };
}

function sendBody(outgoing: NodeJS.WritableStream, body: Request['body'], reject: (error: Error) => void): void {
  if (body === undefined) outgoing.end();
  else if (body instanceof Uint8Array) outgoing.end(body);
  else Readable.from(body, { objectMode: false }).on('error', reject).pipe(outgoing);
}

/** Yields `bytes` in chunks of 100 kB, as the body of a request without Content-Length. */
export async function* inChunks(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.byteLength; start += 100_000) yield bytes.subarray(start, start + 100_000);
}
