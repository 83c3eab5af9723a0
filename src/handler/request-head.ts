import type { IncomingHttpHeaders } from 'node:http';
import type { Exchange } from '../contract/exchange.js';
import type { ProtocolRequest } from '../protocols/protocol.js';

/**
 * The request as protocols see it, its path below `mountPath` (`''` or `/a/b`, no slash at the end). Undefined for a path
 * outside.
 */
export function requestBelow({ method, url, headers }: Exchange, mountPath: string): ProtocolRequest | undefined {
  // The absolute form that proxies send is to be accepted by every server (RFC 9112, 3.2.2).
  const target = url.startsWith('/') ? url : absolutePath(url);
  if (target === undefined) return undefined;
  if (!target.startsWith(mountPath) || target.charCodeAt(mountPath.length) !== SLASH) return undefined;
  const query = target.indexOf('?');
  return new RequestHead(
    method,
    mountPath,
    target.slice(mountPath.length, query === -1 ? undefined : query),
    query === -1 ? '' : target.slice(query + 1),
    headers,
  );
}

const SLASH = 47;

function absolutePath(url: string): string | undefined {
  // One without a host, or with a user, is to be refused (RFC 9110, 4.2.1 and 4.2.4).
  const match = /^https?:\/\/[^/?#@]+(?:(\/.*)|[?#]|$)/i.exec(url);
  return match === null ? undefined : (match[1] ?? '/');
}

class RequestHead implements ProtocolRequest {
  readonly method: string;
  readonly mountPath: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly #query: string;
  #parameters: URLSearchParams | undefined;

  constructor(method: string, mountPath: string, path: string, query: string, headers: IncomingHttpHeaders) {
    this.method = method;
    this.mountPath = mountPath;
    this.path = path;
    this.#query = query;
    this.headers = headers;
  }

  get query(): URLSearchParams {
    this.#parameters ??= new URLSearchParams(this.#query);
    return this.#parameters;
  }
}
