import { DOWNLOAD, ISOLATION, REPLY } from '../helpers/artifact-headers.js';
import { storedTag } from '../helpers/echo-store.js';

/** Response to a request, independent of the HTTP version. */
export interface TestResponse {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Body as latin1. */
  readonly body?: string;
  /** How the stream or connection ended without a response. */
  readonly end?: string;
  /** `true` if the next request on the connection got a response (HTTP/1.1). */
  readonly isReusable?: boolean;
}

const MESSAGES: Readonly<Record<number, string>> = {
  400: 'The request is not valid.',
  404: 'Not found.',
  405: 'Method not allowed.',
  412: 'A precondition of the request failed.',
  413: 'The upload is too large.',
  414: 'The key is too long.',
  416: 'The range cannot be satisfied.',
  421: 'The host of the request is not allowed here. The option allowedHosts (hotblob serve: --allow-host) names allowed hosts.',
  431: 'The request headers are too large.',
  501: 'The transfer coding of the request is not supported.',
};
const LAST_MODIFIED = 'Thu, 29 Feb 2024 12:00:00 GMT';
const JSON_TYPE = 'application/json; charset=utf-8';

/** Returns the response for an expectation of the corpus. The start of `target` determines the artifact's validators. */
export function expectedResponse(words: string, target: string, isHttp1: boolean): TestResponse {
  const [, text = '', ending] = /^(.*?)(?: (closes|later))?$/.exec(words) ?? [];
  const answer = responseOf(text, target);
  if (!isHttp1 || answer.isReusable !== undefined) return answer;
  return { ...answer, isReusable: ending !== 'closes' };
}

function responseOf(text: string, target: string): TestResponse {
  const [kind = '', ...rest] = text.split(' ');
  const strings = [...text.matchAll(/"(?:[^"\\]|\\.)*"/g)].map(([each]) => JSON.parse(each) as string);
  const [first = '', second = ''] = strings;
  switch (kind) {
    case 'bare':
      return { status: Number(rest[0]), headers: {}, body: '', isReusable: false };
    case 'lost':
      return { end: 'closed', isReusable: false };
    case 'reset':
      return { end: `reset ${rest[0]}` };
    case '200':
      return { status: 200, headers: contentHeaders(target, byteLength(first)), body: bytesOf(first) };
    case 'endless': {
      const { 'content-length': _length, 'accept-ranges': _ranges, ...headers } = contentHeaders('', 0);
      const { 'last-modified': _date, ...others } = headers;
      return { status: 200, headers: others, body: bytesOf(first) };
    }
    case 'head':
      if (strings.length === 0) return { ...error(Number(rest[0]), ''), body: '' };
      return { status: 200, headers: contentHeaders(target, byteLength(first)), body: '' };
    case '206': {
      const range = { 'content-range': `bytes ${rest[0]}` };
      return { status: 206, headers: { ...contentHeaders(target, byteLength(first)), ...range }, body: bytesOf(first) };
    }
    case '304': {
      const { etag, 'last-modified': date } = validators(target);
      return {
        status: 304,
        headers: {
          ...ISOLATION,
          'cache-control': 'no-cache, no-transform',
          ...(etag && { etag }),
          ...(date && { 'last-modified': date }),
        },
        body: '',
      };
    }
    case 'stored':
      return { status: 200, headers: { ...empty, etag: storedTag(first, Buffer.from(second)) }, body: '' };
    case 'kept':
      return { status: 200, headers: { ...empty, etag: first }, body: '' };
    case '204':
      return { status: 204, headers: { ...REPLY, 'cache-control': 'no-store' }, body: '' };
    case 'created':
      return { status: 201, headers: empty, body: '' };
    case '417':
      return { status: 417, headers: {}, body: '' };
    case 'text':
      return withBody(Number(rest[0]), 'text/plain', textOf(Number(rest[0])));
    case 'turbo':
      return turbo(Number(rest[0]), rest.slice(1).join(' '));
    default:
      return error(Number(kind), rest.join(' '));
  }
}

const empty = { ...REPLY, 'content-length': '0', 'cache-control': 'no-store' };

// An upload that is too large gets 403 for Nx, which treats other statuses as a failure of the cache.
function textOf(status: number): string {
  return MESSAGES[status === 403 ? 413 : status] ?? '';
}

function error(status: number, detail: string): TestResponse {
  const message = `${JSON.stringify({ message: MESSAGES[status] })}\n`;
  const extra: Record<string, string> = {};
  if (status === 405) extra['allow'] = detail;
  if (status === 416) extra['content-range'] = `bytes ${detail}`;
  return withBody(status, JSON_TYPE, message, extra);
}

function turbo(status: number, allow: string): TestResponse {
  const code = status === 405 ? 'method_not_allowed' : 'bad_request';
  const text = JSON.stringify({ error: { code, message: MESSAGES[status] } });
  return withBody(status, JSON_TYPE, text, allow === '' ? {} : { allow });
}

function withBody(status: number, type: string, body: string, extra: Record<string, string> = {}): TestResponse {
  const headers = {
    'content-type': type,
    'content-length': String(byteLength(body)),
    'cache-control': 'no-store',
    ...REPLY,
    ...extra,
  };
  return { status, headers, body };
}

function contentHeaders(target: string, length: number): Record<string, string> {
  return {
    'content-type': 'application/octet-stream',
    'content-length': String(length),
    'accept-ranges': 'bytes',
    'cache-control': 'no-cache, no-transform',
    ...DOWNLOAD,
    ...validators(target),
  };
}

function validators(target: string): { readonly etag?: string; readonly 'last-modified'?: string } {
  if (target.startsWith('/bare')) return {};
  if (target.startsWith('/dated')) return { 'last-modified': LAST_MODIFIED };
  return { etag: target.startsWith('/weak') ? 'W/"tag"' : '"tag"', 'last-modified': LAST_MODIFIED };
}

function byteLength(text: string): number {
  return Buffer.byteLength(text);
}

/** Returns the UTF-8 bytes of a text, each as one character. */
function bytesOf(text: string): string {
  return Buffer.from(text).toString('latin1');
}
