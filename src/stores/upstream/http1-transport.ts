import http, { type ClientRequest } from 'node:http';
import https from 'node:https';
import { isIP } from 'node:net';
import { ConnectionLostError, upstreamError } from './errors.js';
import type { UpstreamSettings } from './options.js';
import type { Transport, UpstreamRequest } from './request.js';
import { UpstreamResponse } from './response.js';
import { type OutgoingRequest, sendRequest } from './send-request.js';

/** Idle time after which a connection is closed. A proxy or the upstream may drop an idle connection without notice. */
const IDLE_MS = 15_000;

/**
 * Transport for HTTP/1.1 with keep-alive connections. Node's agent unreferences idle connections, so that they do not
 * keep the process alive.
 */
export class Http1Transport implements Transport {
  readonly #settings: UpstreamSettings;
  readonly #agent: http.Agent;
  readonly #inFlight = new Set<ClientRequest>();

  constructor(settings: UpstreamSettings) {
    const { origin, ca, limits } = settings;
    const options = { keepAlive: true, maxSockets: limits.maxConnections, timeout: IDLE_MS };
    this.#settings = settings;
    this.#agent =
      origin.protocol === 'https:' ? new https.Agent({ ...options, ...caOptions(ca) }) : new http.Agent(options);
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
    this.#inFlight.add(outgoing);
    outgoing.on('close', () => this.#inFlight.delete(outgoing));
    return sendRequest(new OutgoingHttp1Request(outgoing, origin.origin), request, limits, origin.origin);
  }

  async close(): Promise<void> {
    for (const request of this.#inFlight) request.destroy();
    this.#agent.destroy();
  }
}

class OutgoingHttp1Request implements OutgoingRequest {
  readonly sink: ClientRequest;
  readonly #origin: string;

  constructor(sink: ClientRequest, origin: string) {
    this.sink = sink;
    this.#origin = origin;
  }

  subscribe({ onConnecting, onConnected, onResponse }: Parameters<OutgoingRequest['subscribe']>[0]): void {
    const { sink } = this;
    sink.on('socket', (socket) => {
      if (sink.reusedSocket || !socket.connecting) return onConnected();
      onConnecting();
      socket.once('encrypted' in socket ? 'secureConnect' : 'connect', onConnected);
    });
    sink.on('response', (response) => {
      onResponse(new UpstreamResponse(response.statusCode ?? 0, response.headers, response, () => response.destroy()));
    });
  }

  abort(): void {
    this.sink.destroy();
  }

  explain(error: Error | undefined): Error {
    const cause = error ?? new Error('the connection was closed before the response');
    // The upstream may have closed an idle connection at the moment when the request was sent. It may also have
    // processed the request.
    return this.sink.reusedSocket ? new ConnectionLostError(false, cause) : upstreamError(this.#origin, cause);
  }
}

/** Returns the certificate authorities in the form that node:tls expects. */
export function caOptions(ca: UpstreamSettings['ca']): { ca?: (string | Buffer)[] } {
  if (ca === undefined) return {};
  const certificates = typeof ca === 'string' || ca instanceof Uint8Array ? [ca] : ca;
  return { ca: certificates.map((each) => (typeof each === 'string' ? each : Buffer.from(each))) };
}

/** Returns the host name; an IPv6 address without its brackets. */
export function hostOf(origin: URL): string {
  return origin.hostname.replace(/^\[|\]$/g, '');
}
