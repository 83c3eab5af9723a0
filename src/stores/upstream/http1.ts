import http, { type ClientRequest } from 'node:http';
import https from 'node:https';
import { isIP } from 'node:net';
import { converse, type Outgoing } from './conversation.js';
import { Unanswered, upstreamFailed } from './errors.js';
import type { UpstreamSettings } from './options.js';
import type { Transport, UpstreamRequest } from './request.js';
import { UpstreamResponse } from './response.js';

/** A connection that nobody has used for so long is closed: its peer may have forgotten it. */
const IDLE_MS = 15_000;

/** HTTP/1.1, on connections that are kept and used again. Idle ones keep no process alive: Node sees to that. */
export class Http1Transport implements Transport {
  readonly #settings: UpstreamSettings;
  readonly #agent: http.Agent;
  readonly #open = new Set<ClientRequest>();

  constructor(settings: UpstreamSettings) {
    const { origin, ca, limits } = settings;
    const options = { keepAlive: true, maxSockets: limits.maxConnections, timeout: IDLE_MS };
    this.#settings = settings;
    this.#agent =
      origin.protocol === 'https:' ? new https.Agent({ ...options, ...trust(ca) }) : new http.Agent(options);
  }

  async send(request: UpstreamRequest): Promise<UpstreamResponse> {
    const { origin, limits } = this.#settings;
    const { method, path, headers, upload } = request;
    const isTls = origin.protocol === 'https:';
    const host = hostOf(origin);
    const outgoing = (isTls ? https : http).request({
      agent: this.#agent,
      host,
      port: origin.port || (isTls ? 443 : 80),
      method,
      path,
      headers: upload?.size === undefined ? headers : { ...headers, 'content-length': upload.size },
      ...(isTls && isIP(host) === 0 ? { servername: host } : {}),
    });
    this.#open.add(outgoing);
    outgoing.on('close', () => this.#open.delete(outgoing));
    return converse(new Http1Outgoing(outgoing, origin.origin), request, limits, origin.origin);
  }

  async close(): Promise<void> {
    for (const request of this.#open) request.destroy();
    this.#agent.destroy();
  }
}

class Http1Outgoing implements Outgoing {
  readonly sink: ClientRequest;
  readonly #origin: string;

  constructor(sink: ClientRequest, origin: string) {
    this.sink = sink;
    this.#origin = origin;
  }

  watch({ connecting, connected, answered }: Parameters<Outgoing['watch']>[0]): void {
    const { sink } = this;
    sink.on('socket', (socket) => {
      if (sink.reusedSocket || !socket.connecting) return connected();
      connecting();
      socket.once('encrypted' in socket ? 'secureConnect' : 'connect', connected);
    });
    sink.on('response', (response) => {
      answered(new UpstreamResponse(response.statusCode ?? 0, response.headers, response, () => response.destroy()));
    });
  }

  abort(): void {
    this.sink.destroy();
  }

  explain(error: Error | undefined): Error {
    const cause = error ?? new Error('the connection was closed before an answer');
    // The peer may have closed it while the request was on its way: nobody is to blame, but who knows what it has done?
    return this.sink.reusedSocket ? new Unanswered(false, cause) : upstreamFailed(this.#origin, cause);
  }
}

/** What TLS is to trust, as its options say it. */
export function trust(ca: UpstreamSettings['ca']): { ca?: (string | Buffer)[] } {
  if (ca === undefined) return {};
  const all = typeof ca === 'string' || ca instanceof Uint8Array ? [ca] : ca;
  return { ca: all.map((each) => (typeof each === 'string' ? each : Buffer.from(each))) };
}

/** Without the brackets of an IPv6 address. */
export function hostOf(origin: URL): string {
  return origin.hostname.replace(/^\[|\]$/g, '');
}
