import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { PYTHON } from '../helpers/peers.js';
import type { CorpusRequest } from './corpus.js';
import type { TestResponse } from './expected-response.js';

const TIMEOUT_MS = 60_000;
const NEXT = 'GET /next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
const PROGRAM = fileURLToPath(new URL('./send_http2.py', import.meta.url));

/**
 * Sends a request over a new HTTP/1.1 connection, followed by another request with `Connection: close`. With `isLater`, the
 * second request is sent after the response to the first.
 */
export async function sendHttp1(
  port: number,
  { text, method }: NonNullable<CorpusRequest['http1']>,
  isLater: boolean,
): Promise<TestResponse> {
  const socket = net.connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  // The kernel resets a connection that is closed with unread bytes. The response is read before that error.
  socket.on('error', () => {}).on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
  const received = (): string => Buffer.concat(chunks).toString('latin1');
  const closed = once(socket, 'close');
  socket.write(Buffer.from(isLater ? text : text + NEXT, 'latin1'));
  if (isLater) {
    while (parseResponse(received(), method) === undefined && !socket.destroyed) {
      await Promise.race([once(socket, 'data'), closed]);
    }
    socket.write(NEXT);
  }
  await closed;
  const first = parseResponse(received(), method);
  if (first === undefined)
    return { end: received() === '' ? 'closed' : `incomplete response: ${received()}`, isReusable: false };
  const next = parseResponse(first.rest, 'GET');
  if (first.rest !== '' && (next?.body !== 'next' || next.rest !== ''))
    throw new Error(`unexpected bytes after the response: ${first.rest}`);
  const { status, headers, body } = first;
  return { status, headers: endToEnd(headers), body, isReusable: next !== undefined };
}

/** Sends requests over HTTP/2, one after the other. */
export async function sendHttp2(
  t: ExecutionContext,
  port: number,
  requests: readonly NonNullable<CorpusRequest['http2']>[],
): Promise<TestResponse[]> {
  const child = spawn(PYTHON, [PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  child.stdin.end(JSON.stringify({ port, requests }));
  const [output, [code]] = await Promise.all([child.stdout.toArray(), once(child, 'close')]);
  if (code !== 0) throw new Error(`send_http2.py exited with code ${code}`);
  const results: Http2Result[] = JSON.parse(Buffer.concat(output).toString());
  return results.map((each) => {
    if ('status' in each) return { ...each, headers: endToEnd(Object.fromEntries(each.fields)), fields: undefined };
    return { end: 'reset' in each ? `reset ${each.reset}` : `closed ${each.closed}` };
  });
}

type Http2Result =
  | { readonly status: number; readonly fields: readonly (readonly [string, string])[]; readonly body: string }
  | { readonly reset: string }
  | { readonly closed: string };

/** Removes the headers of the connection and the date. */
function endToEnd(headers: Readonly<Record<string, string>>): Record<string, string> {
  const {
    date: _date,
    connection: _connection,
    'keep-alive': _keepAlive,
    'transfer-encoding': _coding,
    ...rest
  } = headers;
  return rest;
}

interface ParsedResponse {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly rest: string;
}

/** Parses the first final response, and returns the bytes after it as `rest`. Returns `undefined` if it is incomplete. */
function parseResponse(text: string, method: string): ParsedResponse | undefined {
  const end = text.indexOf('\r\n\r\n');
  const [line = '', ...lines] = text.slice(0, Math.max(end, 0)).split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(line)?.[1]);
  if (end === -1 || Number.isNaN(status)) return undefined;
  const rest = text.slice(end + 4);
  if (status < 200) return parseResponse(rest, method);
  const headers = Object.fromEntries(
    lines.map((each) => [each.slice(0, each.indexOf(':')).toLowerCase(), each.slice(each.indexOf(':') + 2)]),
  );
  if (method === 'HEAD' || status === 204 || status === 304) return { status, headers, body: '', rest };
  if (headers['transfer-encoding'] === 'chunked') {
    const [whole, body = ''] = /^((?:[0-9a-f]+\r\n[\s\S]*?\r\n)?)0\r\n\r\n/.exec(rest) ?? [];
    if (whole === undefined) return undefined;
    return { status, headers, body: body.replace(/^.*\r\n|\r\n$/g, ''), rest: rest.slice(whole.length) };
  }
  const length = Number(headers['content-length'] ?? 0);
  if (rest.length < length) return undefined;
  return { status, headers, body: rest.slice(0, length), rest: rest.slice(length) };
}
