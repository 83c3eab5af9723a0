// Child process with clients that make one request each and keep their connections open. If a connection closes, the process
// exits with 1.

import { Agent, get } from 'node:http';
import { connect } from 'node:http2';
import type { ClientsReport } from './clients.js';
import type { Protocol } from './server.js';

export interface IdleClientsConfig {
  readonly port: number;
  readonly protocol: Protocol;
  readonly connections: number;
  readonly timeoutMs: number;
}

const config = JSON.parse(process.argv[2] ?? '') as IdleClientsConfig;
const url = `http://127.0.0.1:${config.port}/`;
process.on('disconnect', () => process.exit());

const startedAt = performance.now();
const timer = setTimeout(lost, config.timeoutMs);
const open = config.protocol === 'h1' ? overHttp1 : overHttp2;
// Sequentially, because concurrent connections would raise the peak memory of the server above that of idle connections.
for (let count = 0; count < config.connections; count++) await open();
clearTimeout(timer);
const seconds = (performance.now() - startedAt) / 1000;
process.send?.({ succeeded: config.connections, failed: 0, seconds } satisfies ClientsReport);

function overHttp1(): Promise<void> {
  return new Promise((resolve) => {
    const request = get(url, { agent: new Agent({ keepAlive: true }) }, (response) => {
      if (response.statusCode !== 200) lost();
      response.resume().on('end', resolve);
    });
    request.on('error', lost).on('socket', (socket) => socket.on('close', lost));
  });
}

function overHttp2(): Promise<void> {
  return new Promise((resolve) => {
    const session = connect(url).on('error', lost).on('close', lost);
    const stream = session.request();
    stream.on('response', (headers) => headers[':status'] === 200 || lost());
    stream.on('error', lost).on('close', resolve).resume();
  });
}

function lost(): void {
  process.exit(1);
}
