import type { IncomingHttpHeaders } from 'node:http';
import type { Exchange } from '../contract/exchange.js';
import type { ProtocolRequest } from '../protocols/protocol.js';
import { warnOnce } from '../util/warn-once.js';

/**
 * Returns the request in the form in which protocols receive it, with its path relative to `mountPath`. Returns
 * undefined if the path is not below `mountPath`.
 *
 * @param mountPath mount path without a trailing slash: `''` or `/a/b`
 */
export function createProtocolRequest(
  { method, url, headers }: Exchange,
  mountPath: string,
): ProtocolRequest | undefined {
  // Servers must accept the absolute form, which proxies send (RFC 9112, section 3.2.2).
  const target = url.startsWith('/') ? url : pathOfAbsoluteForm(url);
  if (target === undefined) return undefined;
  if (!target.startsWith(mountPath) || target.charCodeAt(mountPath.length) !== SLASH) return undefined;
  const query = target.indexOf('?');
  return new MountedRequest(
    method,
    mountPath,
    target.slice(mountPath.length, query === -1 ? undefined : query),
    query === -1 ? '' : target.slice(query + 1),
    headers,
  );
}

/**
 * Warns if a framework has removed the mount path from the URL, so that no request is ever below it.
 *
 * @param exchange exchange whose URL is not below `mountPath`
 */
export function warnOfRemovedPath({ url, originalUrl }: Exchange, mountPath: string): void {
  if (originalUrl === undefined || originalUrl === url || !`${originalUrl}/`.startsWith(`${mountPath}/`)) return;
  const message = `expected a request below ${mountPath}, received one whose path the framework has already removed; omit mountPath, because the framework mounts the handler there`;
  warnOnce(`mountPath: ${message}`);
}

const SLASH = 47;

function pathOfAbsoluteForm(url: string): string | undefined {
  // A URI without a host, or with user information, is invalid (RFC 9110, sections 4.2.1 and 4.2.4).
  const match = /^https?:\/\/[^/?#@]+(?:(\/.*)|[?#]|$)/i.exec(url);
  return match === null ? undefined : (match[1] ?? '/');
}

class MountedRequest implements ProtocolRequest {
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
