import http, { type IncomingMessage, type RequestOptions } from 'node:http';
import https from 'node:https';
import { errnoCode } from '../../contract/errors.js';
import { CommandError, UsageError } from '../command.js';
import { OPERATOR_PATH } from '../serve/status-pages.js';
import { printable } from '../terminal.js';
import { isStatsDocument, type StatsDocument } from './stats-document.js';

const PATH = `${OPERATOR_PATH}stats`;
const TIMEOUT_MS = 10_000;
/** Many times what a server says about itself. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** Whom to ask, and as whom. */
export interface StatsSource {
  readonly url: URL;
  /** The header; undefined where nobody has said anything. */
  readonly authorization: string | undefined;
}

/**
 * A server by its URL, `http:` where it says nothing else; a path is where a proxy has mounted it.
 *
 * @param token for who is not named by user and password in the URL
 * @throws UsageError for what is no URL of http: or https:
 */
export function statsSource(text: string, token: string | undefined): StatsSource {
  const url = URL.canParse(withScheme(text)) ? new URL(withScheme(text)) : undefined;
  const credentials = url && credentialsOf(url);
  if (url === undefined || credentials === undefined || !/^https?:$/.test(url.protocol)) {
    throw new UsageError('expected a URL such as http://127.0.0.1:8080');
  }
  const named = credentials === ':' ? undefined : `Basic ${Buffer.from(credentials).toString('base64')}`;
  Object.assign(url, { username: '', password: '', search: '', hash: '' });
  const mount = url.pathname.replace(/\/(?:_hotblob\/(?:stats)?)?$/, '');
  url.pathname = mount + PATH;
  return { url, authorization: named ?? (token ? `Bearer ${token}` : undefined) };
}

/** Undefined where what stands there is no UTF-8. */
function credentialsOf({ username, password }: URL): string | undefined {
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
 * What a server says about itself, within 10 s.
 *
 * @throws CommandError that says why there is nothing
 */
export async function requestStats({ url, authorization }: StatsSource, signal: AbortSignal): Promise<StatsDocument> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const headers = { accept: 'application/json', ...(authorization === undefined ? {} : { authorization }) };
  let response: IncomingMessage;
  let body: string;
  try {
    response = await answerOf(url, { headers, signal: AbortSignal.any([signal, timeout]) });
    body = await bodyOf(response);
  } catch (error) {
    if (signal.aborted) throw error;
    const seconds = TIMEOUT_MS / 1000;
    const what = timeout.aborted ? `has not answered within ${seconds} seconds` : whyNot(error, url);
    throw new CommandError(`${url.origin} ${what}`, { cause: error });
  }
  const found = response.statusCode === 200 ? jsonOf(body) : undefined;
  if (isStatsDocument(found)) return found;
  throw new CommandError(`${url.origin} ${whyNoFigures(response, authorization !== undefined)}`);
}

function answerOf(url: URL, options: RequestOptions): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { get } = url.protocol === 'https:' ? https : http;
    get(url, options, resolve).on('error', reject);
  });
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BODY_BYTES) break; // it will not be what was asked for
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function whyNoFigures({ statusCode = 0, headers }: IncomingMessage, isNamed: boolean): string {
  if (statusCode === 401) {
    return isNamed
      ? 'does not know this token (401), or not as one that may read'
      : 'wants a token (401): HOTBLOB_TOKEN in the environment, or user:token@ in the URL';
  }
  if (statusCode === 403) return 'does not let this token read (403)';
  if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined) {
    return `answers that it is elsewhere (${statusCode}): ${printable(headers.location)}`;
  }
  if (statusCode === 503) return 'is too busy to answer (503)';
  return `is no hotblob server, or one of another version: it has no ${PATH} as this one knows it (${statusCode})`;
}

function whyNot(error: unknown, { protocol, hostname }: URL): string {
  const code = errnoCode(error) ?? '';
  if (code === 'ECONNREFUSED') return 'is not there: nobody listens on that port';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `is not there: nobody knows the name ${hostname}`;
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH' || code === 'ETIMEDOUT') return `cannot be reached (${code})`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `shows a certificate of another name than ${hostname}`;
  if (code === 'CERT_HAS_EXPIRED') return 'shows a certificate that has expired';
  if (code === 'CERT_NOT_YET_VALID') return 'shows a certificate that is not valid yet';
  if (/CERT|ISSUER|SIGNATURE/.test(code)) {
    return `shows a certificate that nobody trusted has signed (${code}): NODE_EXTRA_CA_CERTS=FILE names one to trust`;
  }
  const isGarbled = code.startsWith('HPE_') || code === 'ECONNRESET';
  if (protocol === 'http:' && isGarbled) return `does not speak HTTP there (${code}): is it https:?`;
  if (protocol === 'https:' && (code === 'EPROTO' || code === 'ECONNRESET' || code.startsWith('ERR_SSL'))) {
    return `does not speak TLS there (${code}): is it http:?`;
  }
  return `cannot be asked: ${error instanceof Error ? printable(error.message) : code}`;
}
