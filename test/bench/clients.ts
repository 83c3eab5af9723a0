// Child process with HTTP/1.1 clients that download an artifact completely, or stop reading in the middle.

import { connect, type Socket } from 'node:net';

export interface ClientsConfig {
  readonly port: number;
  /** One connection is opened for each path. */
  readonly paths: readonly string[];
  /** Size of a complete body. */
  readonly bodyBytes: number;
  /** Number of bytes after which each client stops reading. Default: clients read to the end. */
  readonly stopAfterBytes?: number;
  readonly timeoutMs: number;
}

/** Sent when all clients are done, or after the timeout. */
export interface ClientsReport {
  readonly succeeded: number;
  readonly failed: number;
  readonly seconds: number;
}

const config = JSON.parse(process.argv[2] ?? '') as ClientsConfig;
process.on('disconnect', () => process.exit());

const startedAt = performance.now();
let succeeded = 0;
let failed = 0;
const sockets = config.paths.map(request);
setTimeout(() => {
  for (const socket of sockets) socket.destroy();
  report(config.paths.length - succeeded);
}, config.timeoutMs).unref();

function request(path: string): Socket {
  let received = 0;
  let headerBytes: number | undefined;
  let head = '';
  let isOver = false;
  const over = (isGood: boolean): void => {
    if (isOver) return;
    isOver = true;
    if (isGood) succeeded++;
    else failed++;
    if (succeeded + failed === config.paths.length) report(failed);
  };
  const onread = {
    // Data is received into one buffer and discarded, so that the clients need less CPU time than any server.
    buffer: Buffer.allocUnsafe(256 * 1024),
    callback(size: number, buffer: Uint8Array): boolean {
      received += size;
      if (headerBytes === undefined) {
        head += Buffer.from(buffer.subarray(0, size)).toString('latin1');
        const end = head.indexOf('\r\n\r\n');
        if (end !== -1) headerBytes = end + 4;
      }
      if (config.stopAfterBytes === undefined || received < config.stopAfterBytes) return true;
      over(isOk(head));
      return false;
    },
  };
  const socket = connect({ port: config.port, host: '127.0.0.1', onread });
  socket.on('error', () => over(false));
  socket.on('close', () => over(isOk(head) && received - (headerBytes ?? 0) === config.bodyBytes));
  socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`);
  return socket;
}

function isOk(head: string): boolean {
  return head.startsWith('HTTP/1.1 200 ');
}

function report(missing: number): void {
  process.send?.({
    succeeded,
    failed: missing,
    seconds: (performance.now() - startedAt) / 1000,
  } satisfies ClientsReport);
}
