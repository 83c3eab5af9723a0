import http from 'node:http';
import http2, { type ClientHttp2Session } from 'node:http2';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { ExecutionContext } from 'ava';
import { afterHttp2Read } from '../../src/util/after-http2-read.js';
import type { RunningServer } from './servers.js';

/** A download that has stopped reading after the response headers. */
export interface PausedDownload {
  readonly status: number;
  /** Reads the rest. Resolves to the whole body, and rejects if the response was aborted. */
  finish(): Promise<Buffer>;
  /** Reads the rest without buffering it. Resolves to whether the body is `expected`, and rejects if it was aborted. */
  check(expected: Uint8Array): Promise<boolean>;
  /** Disconnects abruptly, with a TCP reset if possible. */
  leave(): void;
  /** Reads at least `bytes`, or until the end, then disconnects abruptly. */
  leaveAfter(bytes: number): Promise<void>;
  /** Cancels the download: closes the connection on HTTP/1.1, resets the stream with CANCEL on HTTP/2. */
  end(): void;
}

/** Starts a download on a new connection, and stops reading after the response headers. */
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
      const isAborted = () => !response.complete;
      // Node 20.20 never closes a socket that is reset while it is closing.
      const leave = () => void (response.complete ? request.destroy() : resetSocket(request.socket));
      resolve({
        status: response.statusCode ?? 0,
        finish: () => readAll(response, isAborted),
        check: (expected) => compareAll(response, isAborted, expected),
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
  t.teardown(() => afterHttp2Read(() => session.destroy()));
  // The error is emitted on every stream, too.
  session.on('error', () => {});
  return startPausedOn(session, path);
}

/** Like {@link startPaused}, on an existing session. `leave` destroys the session. */
export function startPausedOn(session: ClientHttp2Session, path: string): Promise<PausedDownload> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': path });
    stream.on('error', reject).on('response', (headers) => {
      const isAborted = () => stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR;
      const leave = () => afterHttp2Read(() => session.destroy());
      resolve({
        status: Number(headers[':status']),
        finish: () => readAll(stream, isAborted),
        check: (expected) => compareAll(stream, isAborted, expected),
        leave,
        leaveAfter: (bytes) => readSome(stream, bytes).finally(leave),
        end: () => stream.close(http2.constants.NGHTTP2_CANCEL),
      });
    });
  });
}

async function readAll(body: Readable, isAborted: () => boolean): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  if (isAborted()) throw new Error('the response was aborted');
  return Buffer.concat(chunks);
}

async function compareAll(body: Readable, isAborted: () => boolean, expected: Uint8Array): Promise<boolean> {
  let received = 0;
  let isSame = true;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    isSame &&= chunk.equals(expected.subarray(received, received + chunk.byteLength));
    received += chunk.byteLength;
  }
  if (isAborted()) throw new Error('the response was aborted');
  return isSame && received === expected.byteLength;
}

async function readSome(body: Readable, bytes: number): Promise<void> {
  let received = 0;
  for await (const chunk of body.iterator({ destroyOnReturn: false })) {
    received += chunk.byteLength;
    if (received >= bytes) return;
  }
}

// TLSSocket does not support resetAndDestroy().
function resetSocket(socket: Socket | null): void {
  if (socket === null) return;
  if (socket instanceof TLSSocket) socket.destroy();
  else socket.resetAndDestroy();
}
