import http, { type IncomingMessage, type RequestOptions } from 'node:http';
import https from 'node:https';
import { errnoCode } from '../contract/errors.js';
import { printable } from '../util/printable.js';
import { UsageError } from './command.js';
import { OPERATOR_PATH } from './serve/operator-path.js';

/** Page of a server, and credentials for it. */
export interface OperatorEndpoint {
  readonly url: URL;
  /** Value of the `Authorization` header. */
  readonly authorization: string | undefined;
}

/**
 * Parses the URL of a server, and returns that of one of its pages. The scheme defaults to `http:`. A path in the URL is treated as
 * the path under which a proxy mounts the server.
 *
 * @param token bearer token, used if the URL contains no credentials
 * @param page name of the page, such as `stats`
 * @throws UsageError if `text` is not an http: or https: URL
 */
export function parseOperatorUrl(text: string, token: string | undefined, page: string): OperatorEndpoint {
  // The URL parser would take a number for an IPv4 address.
  if (/^\d+$/.test(text)) throw new UsageError(`expected a URL such as http://127.0.0.1:${text}, received a number`);
  const url = URL.canParse(withScheme(text)) ? new URL(withScheme(text)) : undefined;
  const credentials = url && decodeCredentials(url);
  if (url === undefined || credentials === undefined || !/^https?:$/.test(url.protocol)) {
    // Does not print `text`, which may contain a token.
    throw new UsageError('expected a URL such as http://127.0.0.1:8080');
  }
  const basic = credentials === ':' ? undefined : `Basic ${Buffer.from(credentials).toString('base64')}`;
  Object.assign(url, { username: '', password: '', search: '', hash: '' });
  const mount = url.pathname.replace(/\/(?:_hotblob\/[a-z]*)?$/, '');
  url.pathname = mount + OPERATOR_PATH + page;
  return { url, authorization: basic ?? (token ? `Bearer ${token}` : undefined) };
}

/** Returns the decoded `user:password` of a URL, or `undefined` if the percent-encoding is invalid. */
function decodeCredentials({ username, password }: URL): string | undefined {
  try {
    return `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  } catch {
    return undefined;
  }
}

function withScheme(text: string): string {
  return text.includes('://') ? text : `http://${text}`;
}

/**
 * Sends a request and resolves to its response.
 *
 * @param body request body
 */
export function sendRequest(url: URL, options: RequestOptions, body?: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { request } = url.protocol === 'https:' ? https : http;
    request(url, options, resolve).on('error', reject).end(body);
  });
}

/**
 * Returns the error message for a response that every page can have, or `undefined` for another one.
 *
 * @param access required access
 */
export function describeRefusal(
  { statusCode = 0, headers }: IncomingMessage,
  { url: { protocol }, authorization }: OperatorEndpoint,
  access: 'read' | 'write',
): string | undefined {
  if (statusCode === 401) {
    return authorization === undefined
      ? '401: a token is required; set HOTBLOB_TOKEN, or use http://user:TOKEN@host'
      : `401: the token is unknown or does not grant ${access} access`;
  }
  if (statusCode === 403 && access === 'read') return '403: the token does not grant read access';
  if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined) {
    return `${statusCode}: redirected to ${printable(headers.location)}`;
  }
  if (statusCode === 503) return '503: the server is overloaded';
  // The pages for reading have no request that is not valid. For a purge, the server explains it.
  if (statusCode === 400 && protocol === 'http:' && access === 'read') {
    return '400: the request is not valid there; is the URL https:?';
  }
  return undefined;
}

/** Returns the error message for a failed request. */
export function describeError(error: unknown, { protocol, hostname }: URL): string {
  const code = errnoCode(error) ?? '';
  if (code === 'ECONNREFUSED') return 'connection refused (ECONNREFUSED); is the server running on this port?';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `cannot resolve host name ${hostname} (${code})`;
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH' || code === 'ETIMEDOUT') return `host unreachable (${code})`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `the certificate is not valid for ${hostname} (${code})`;
  if (code === 'CERT_HAS_EXPIRED') return `the certificate has expired (${code})`;
  if (code === 'CERT_NOT_YET_VALID') return `the certificate is not yet valid (${code})`;
  if (/CERT|ISSUER|SIGNATURE/.test(code)) {
    return `the certificate is not trusted (${code}); set NODE_EXTRA_CA_CERTS=FILE to trust its issuer`;
  }
  const isProtocolError = code.startsWith('HPE_') || code === 'ECONNRESET';
  if (protocol === 'http:' && isProtocolError) return `the server does not speak HTTP (${code}); is the URL https:?`;
  if (protocol === 'https:' && (code === 'EPROTO' || code === 'ECONNRESET' || code.startsWith('ERR_SSL'))) {
    return `the server does not speak TLS (${code}); is the URL http:?`;
  }
  return `request failed: ${error instanceof Error ? printable(error.message) : code}`;
}
