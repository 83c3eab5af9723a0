import http, { type IncomingMessage, type RequestOptions } from 'node:http';
import https from 'node:https';
import { errnoCode } from '../../contract/errors.js';
import { printable } from '../../util/printable.js';
import { CommandError, UsageError } from '../command.js';
import { OPERATOR_PATH } from '../serve/status-pages.js';
import { isStatsDocument, type StatsDocument } from './stats-document.js';

const PATH = `${OPERATOR_PATH}stats`;
const TIMEOUT_MS = 10_000;
/** Maximum size of a response body, far above the size of the statistics. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** URL of the statistics of a server, and credentials for it. */
export interface StatsEndpoint {
  readonly url: URL;
  /** Value of the `Authorization` header. */
  readonly authorization: string | undefined;
}

/**
 * Parses the URL of a server. The scheme defaults to `http:`. A path in the URL is treated as the path under which a
 * proxy mounts the server.
 *
 * @param token bearer token, used if the URL contains no credentials
 * @throws UsageError if `text` is not an http: or https: URL
 */
export function parseStatsUrl(text: string, token: string | undefined): StatsEndpoint {
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
  const mount = url.pathname.replace(/\/(?:_hotblob\/(?:stats)?)?$/, '');
  url.pathname = mount + PATH;
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
 * Requests the statistics of a server. The default of `timeoutMs` is 10,000.
 *
 * @throws CommandError if there is no valid response
 */
export async function requestStats(
  { url, authorization }: StatsEndpoint,
  signal: AbortSignal,
  timeoutMs = TIMEOUT_MS,
): Promise<StatsDocument> {
  const timeout = AbortSignal.timeout(timeoutMs);
  const headers = { accept: 'application/json', ...(authorization === undefined ? {} : { authorization }) };
  let response: IncomingMessage;
  let body: string;
  try {
    response = await sendRequest(url, { headers, signal: AbortSignal.any([signal, timeout]) });
    body = await readBody(response);
  } catch (error) {
    if (signal.aborted) throw error;
    const reason = timeout.aborted ? `no response within ${timeoutMs / 1000} seconds` : describeError(error, url);
    throw new CommandError(`${url.origin}: ${reason}`, { cause: error });
  }
  const document = response.statusCode === 200 ? parseJson(body) : undefined;
  if (isStatsDocument(document)) return document;
  throw new CommandError(`${url.origin}: ${describeResponse(response, url, authorization !== undefined)}`);
}

function sendRequest(url: URL, options: RequestOptions): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { get } = url.protocol === 'https:' ? https : http;
    get(url, options, resolve).on('error', reject);
  });
}

async function readBody(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BODY_BYTES) break; // not a statistics document: parsing it fails
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Returns the error message for a response without statistics. */
function describeResponse(
  { statusCode = 0, headers }: IncomingMessage,
  { protocol }: URL,
  hasCredentials: boolean,
): string {
  if (statusCode === 401) {
    return hasCredentials
      ? '401: the token is unknown or does not grant read access'
      : '401: a token is required; set HOTBLOB_TOKEN, or use http://user:TOKEN@host';
  }
  if (statusCode === 403) return '403: the token does not grant read access';
  if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined) {
    return `${statusCode}: redirected to ${printable(headers.location)}`;
  }
  if (statusCode === 503) return '503: the server is overloaded';
  if (statusCode === 400 && protocol === 'http:') return '400: the request is not valid there; is the URL https:?';
  return `${statusCode}: the response has no statistics; is the URL that of a hotblob server of this version?`;
}

/** Returns the error message for a failed request. */
function describeError(error: unknown, { protocol, hostname }: URL): string {
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
