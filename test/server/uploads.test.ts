import { once } from 'node:events';
import http2, { type Http2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { DelayProxy } from '../helpers/delay-proxy.js';
import { MIB } from '../helpers/files.js';
import { openPort } from './fixture.js';

const ROUND_TRIP_MS = 50;

/** Bytes a second of one upload over HTTP/2, to a server that is far away. */
async function rateOf(port: number, bytes: number): Promise<number> {
  const proxy = await DelayProxy.start({ port, roundTripMs: ROUND_TRIP_MS });
  const session = http2.connect(`http://127.0.0.1:${proxy.port}`);
  try {
    await once(session, 'remoteSettings');
    const start = performance.now();
    const stream = session.request({ ':method': 'PUT', ':path': '/key' });
    stream.resume().end(Buffer.alloc(bytes));
    await once(stream, 'close');
    return (bytes / (performance.now() - start)) * 1000;
  } finally {
    session.destroy();
    await proxy.close();
  }
}

test('far away, one upload over HTTP/2 is many times as fast as with the windows of Node', async (t) => {
  const bare: Http2Server = http2.createServer((request, response) => {
    request.resume().on('end', () => response.end());
  });
  t.teardown(() => bare.close());
  bare.listen(0, '127.0.0.1');
  await once(bare, 'listening');
  const { port } = await openPort(t, (request, response) => {
    request.resume().on('end', () => response.end());
  });
  const theirs = await rateOf((bare.address() as AddressInfo).port, 2 * MIB);
  const ours = await rateOf(port, 64 * MIB);
  t.log(`${(ours / theirs).toFixed(1)} times`);
  // The benchmark says 20; here the machine is busy with other tests, and the client sends no faster for it.
  t.true(ours / theirs > 10, `${ours / theirs}`);
});
