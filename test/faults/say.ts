import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { PYTHON } from '../helpers/peers.js';
import type { Answer } from './answers.js';
import type { CorpusRequest } from './corpus.js';

const TIMEOUT_MS = 60_000;
const NEXT = 'GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
const PROGRAM = fileURLToPath(new URL('./say_http2.py', import.meta.url));

/**
 * What comes of one request of HTTP/1.1 on a connection of its own, with another one right behind it that asks for the end.
 * `isLater`: the other one is said when the first has been answered.
 */
export async function sayHttp1(
  port: number,
  { text, method }: NonNullable<CorpusRequest['http1']>,
  isLater: boolean,
): Promise<Answer> {
  const socket = net.connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  // What is closed with bytes that nobody has read is reset: what had been answered is read before that is seen.
  socket.on('error', () => {}).on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
  const received = (): string => Buffer.concat(chunks).toString('latin1');
  const closed = once(socket, 'close');
  socket.write(Buffer.from(isLater ? text : text + NEXT, 'latin1'));
  if (isLater) {
    while (takeResponse(received(), method) === undefined && !socket.destroyed) {
      await Promise.race([once(socket, 'data'), closed]);
    }
    socket.write(NEXT);
  }
  await closed;
  const first = takeResponse(received(), method);
  if (first === undefined)
    return { end: received() === '' ? 'closed' : `half an answer: ${received()}`, goesOn: false };
  const next = takeResponse(first.rest, 'GET');
  if (first.rest !== '' && (next?.body !== 'next' || next.rest !== ''))
    throw new Error(`behind the answer: ${first.rest}`);
  const { status, headers, body } = first;
  return { status, headers: endToEnd(headers), body, goesOn: next !== undefined };
}

/** What comes of requests of HTTP/2, one after the other. */
export async function sayHttp2(
  t: ExecutionContext,
  port: number,
  requests: readonly NonNullable<CorpusRequest['http2']>[],
): Promise<Answer[]> {
  const child = spawn(PYTHON, [PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  child.stdin.end(JSON.stringify({ port, requests }));
  const [output, [code]] = await Promise.all([child.stdout.toArray(), once(child, 'close')]);
  if (code !== 0) throw new Error(`say_http2.py has ended with ${code}`);
  const found: Said[] = JSON.parse(Buffer.concat(output).toString());
  return found.map((each) => {
    if ('status' in each) return { ...each, headers: endToEnd(Object.fromEntries(each.fields)), fields: undefined };
    return { end: 'reset' in each ? `reset ${each.reset}` : `closed ${each.closed}` };
  });
}

type Said =
  | { readonly status: number; readonly fields: readonly (readonly [string, string])[]; readonly body: string }
  | { readonly reset: string }
  | { readonly closed: string };

/** Without what belongs to the connection and the moment. */
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

interface Taken {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly rest: string;
}

/** The first final response of what a connection has said, and what is behind it; undefined while it is not whole. */
function takeResponse(text: string, method: string): Taken | undefined {
  const end = text.indexOf('\r\n\r\n');
  const [line = '', ...lines] = text.slice(0, Math.max(end, 0)).split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(line)?.[1]);
  if (end === -1 || Number.isNaN(status)) return undefined;
  const behind = text.slice(end + 4);
  if (status < 200) return takeResponse(behind, method);
  const headers = Object.fromEntries(
    lines.map((each) => [each.slice(0, each.indexOf(':')).toLowerCase(), each.slice(each.indexOf(':') + 2)]),
  );
  if (method === 'HEAD' || status === 204 || status === 304) return { status, headers, body: '', rest: behind };
  if (headers['transfer-encoding'] === 'chunked') {
    const [whole, body = ''] = /^((?:[0-9a-f]+\r\n[\s\S]*?\r\n)?)0\r\n\r\n/.exec(behind) ?? [];
    if (whole === undefined) return undefined;
    return { status, headers, body: body.replace(/^.*\r\n|\r\n$/g, ''), rest: behind.slice(whole.length) };
  }
  const length = Number(headers['content-length'] ?? 0);
  if (behind.length < length) return undefined;
  return { status, headers, body: behind.slice(0, length), rest: behind.slice(length) };
}
