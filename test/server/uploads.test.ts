import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import { MIB } from '../helpers/files.js';
import { Frames } from '../helpers/frames.js';
import { until } from '../helpers/poll.js';
import { openPort } from './fixture.js';

const UPLOAD_BYTES = 16 * MIB;

function consume(request: { resume(): unknown }): void {
  request.resume();
}

/**
 * Sends an upload over HTTP/2 as fast as the windows of the server allow, and returns how often the client had to wait for a
 * window: over a network each wait costs a round trip.
 */
async function countWaits(t: ExecutionContext, port: number): Promise<number> {
  const client = await Frames.connect(t, { port, certificate: undefined });
  await until('the server has sent its settings', () => client.hasSettings);
  client.begin(1, 'PUT', '/key');
  let waits = 0;
  for (let left = UPLOAD_BYTES; left > 0; waits++) {
    await until('the server opens its windows', () => client.allowance(1) > 0);
    const bytes = Math.min(left, client.allowance(1));
    client.data(1, bytes);
    left -= bytes;
  }
  return waits;
}

test('an upload over HTTP/2 waits for the windows of the server twenty times less often than with those of Node', async (t) => {
  const plainServer = http2.createServer(consume);
  t.teardown(() => plainServer.close());
  await once(plainServer.listen(0, '127.0.0.1'), 'listening');
  // The windows depend on the memory that is left.
  const memory = fixedMemoryPressure('normal', { headroomBytes: 512 * MIB });
  const { port } = await openPort(t, consume, { memory });
  // A server that listens on a port has an AddressInfo.
  const waitsWithNode = await countWaits(t, (plainServer.address() as AddressInfo).port);
  const waits = await countWaits(t, port);
  t.log(`${waits} waits, ${waitsWithNode} with the windows of Node`);
  t.true(waits * 20 < waitsWithNode, `${waits} and ${waitsWithNode}`);
});
