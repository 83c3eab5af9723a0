// Child process with one client that uploads through a proxy with latency and measures the time.

import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:http2';
import { DelayProxy } from '../helpers/delay-proxy.js';
import type { ClientsReport } from './clients.js';
import type { Protocol } from './server.js';

export interface FarClientConfig {
  readonly port: number;
  readonly protocol: Protocol;
  readonly roundTripMs: number;
  readonly bytes: number;
  readonly timeoutMs: number;
}

const config = JSON.parse(process.argv[2] ?? '') as FarClientConfig;
process.on('disconnect', () => process.exit());
setTimeout(() => process.exit(1), config.timeoutMs).unref();

const proxy = await DelayProxy.start({ port: config.port, roundTripMs: config.roundTripMs });
const seconds = await (config.protocol === 'h1' ? overHttp1() : overHttp2());
await proxy.close();
process.send?.({ succeeded: config.bytes, failed: 0, seconds } satisfies ClientsReport);

async function overHttp1(): Promise<number> {
  const startedAt = performance.now();
  const upload = request({ port: proxy.port, host: '127.0.0.1', method: 'PUT', agent: false });
  upload.end(Buffer.alloc(config.bytes));
  const [response] = await once(upload, 'response');
  await once(response.resume(), 'end');
  return (performance.now() - startedAt) / 1000;
}

async function overHttp2(): Promise<number> {
  const session = connect(`http://127.0.0.1:${proxy.port}`);
  await once(session, 'remoteSettings');
  const startedAt = performance.now();
  const stream = session.request({ ':method': 'PUT' });
  stream.resume().end(Buffer.alloc(config.bytes));
  await once(stream, 'close');
  const seconds = (performance.now() - startedAt) / 1000;
  session.destroy();
  return seconds;
}
