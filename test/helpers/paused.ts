import http from 'node:http';
import http2, { type ClientHttp2Session } from 'node:http2';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { ExecutionContext } from 'ava';
import type { RunningServer } from './servers.js';

/** A download that stops reading, and goes on when it is told to. */
export interface PausedDownload {
  readonly status: number;
  /** Reads the rest. Resolves to the whole body; rejects where the response was cut off. */
  finish(): Promise<Buffer>;
  /** The same for a body too large to keep: whether it is `expected`. */
  check(expected: Uint8Array): Promise<boolean>;
  /** Leaves with a reset, in the midst of whatever it is. */
  leave(): void;
  /** Reads at least `bytes`, or all there is, and leaves. */
  leaveAfter(bytes: number): Promise<void>;
  /** Leaves as the protocol wants it. */
  end(): void;
}

/** Starts a download, on a connection of its own, and stops reading once the headers are there. */
export async function startPaused(t: ExecutionContext, server: RunningServer, path: string): Promise<PausedDownload> {
  return server.version === 1 ? startHttp1(t, server, path) : startHttp2(t, server, path);
}

function startHttp1(t: ExecutionContext, server: RunningServer, path: string): Promise<PausedDownload> {
  return new Promise((resolve, reject) => {
    const request = (server.tls ? https : http).get({
      host: '127.0.0.1',
      port: server.port,
      path,
      ca: server.certificate?.cert,
      agent: false,
    });
    t.teardown(() => request.destroy());
    request.on('error', reject).on('response', (response) => {
      const cutOff = () => !response.complete;
      // Node (20.20) keeps a socket for ever that is reset when it is about to close.
      const leave = () => void (response.complete ? request.destroy() : resetSocket(request.socket));
      resolve({
        status: response.statusCode ?? 0,
        finish: () => readAll(response, cutOff),
        check: (expected) => compareAll(response, cutOff, expected),
        leave,
        leaveAfter: (bytes) => readSome(response, bytes).finally(leave),
        end: () => request.destroy(),
      });
    });
  });
}

function startHttp2(t: ExecutionContext, server: RunningServer, path: string): Promise<PausedDownload> {
  const scheme = server.tls ? 'https' : 'http';
  const session = http2.connect(`${scheme}://127.0.0.1:${server.port}`, { ca: server.certificate?.cert });
  t.teardown(() => session.destroy());
  // Each of its streams gets the error too.
  session.on('error', () => {});
  return startPausedOn(session, path);
}

/** The same on a session that is there, which `leave` ends. */
export function startPausedOn(session: ClientHttp2Session, path: string): Promise<PausedDownload> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': path });
    stream.on('error', reject).on('response', (headers) => {
      const cutOff = () => stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR;
      const leave = () => session.destroy();
      resolve({
        status: Number(headers[':status']),
        finish: () => readAll(stream, cutOff),
        check: (expected) => compareAll(stream, cutOff, expected),
        leave,
        leaveAfter: (bytes) => readSome(stream, bytes).finally(leave),
        end: () => stream.close(http2.constants.NGHTTP2_CANCEL),
      });
    });
  });
}

async function readAll(body: Readable, isCutOff: () => boolean): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  if (isCutOff()) throw new Error('the response was cut off');
  return Buffer.concat(chunks);
}

async function compareAll(body: Readable, isCutOff: () => boolean, expected: Uint8Array): Promise<boolean> {
  let received = 0;
  let isSame = true;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    isSame &&= chunk.equals(expected.subarray(received, received + chunk.byteLength));
    received += chunk.byteLength;
  }
  if (isCutOff()) throw new Error('the response was cut off');
  return isSame && received === expected.byteLength;
}

async function readSome(body: Readable, bytes: number): Promise<void> {
  let received = 0;
  for await (const chunk of body.iterator({ destroyOnReturn: false })) {
    received += chunk.byteLength;
    if (received >= bytes) return;
  }
}

// A socket of TLS cannot send a reset: the one below it can.
function resetSocket(socket: Socket | null): void {
  if (socket === null) return;
  if (socket instanceof TLSSocket) socket.destroy();
  else socket.resetAndDestroy();
}
