import { once } from 'node:events';
import { connect } from 'node:net';
import test from 'ava';
import { eventually, fixture, MIB, pattern } from './fixture.js';

const COUNT = 400;

for (const only of ['mapped', 'copied', 'read'] as const) {
  test(`${COUNT} pipelined requests, then a drop: all leases come back (${only})`, async (t) => {
    const { handler, http1Port } = await fixture(t, { artifact: pattern(4 * MIB, 3) }, { only });
    const socket = connect(http1Port, '127.0.0.1');
    await once(socket, 'connect');
    socket.pause();
    socket.write('GET /artifact HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(COUNT));
    await eventually(t, 'the first one is being sent', () => {
      const { mappedBytes, pooledBytes } = handler.stats();
      return mappedBytes + pooledBytes > 0;
    });
    // Those that wait for their turn hold nothing: one descriptor, the windows of one response.
    t.true(handler.stats().openFiles <= 1);
    t.true(handler.stats().pooledBytes <= MIB);
    socket.resetAndDestroy();
    await eventually(t, 'all is given back', () => {
      const { mappedBytes, pooledBytes, responses } = handler.stats();
      const over = Object.values(responses).reduce((sum, count) => sum + count, 0);
      return mappedBytes + pooledBytes === 0 && over === COUNT;
    });
    handler.close();
    await eventually(t, 'the descriptor is closed', () => handler.stats().openFiles === 0);
  });
}

test(`${COUNT} pipelined requests are answered in their order`, async (t) => {
  const files = Object.fromEntries(
    Array.from({ length: 10 }, (_, index) => [`f${index}`, pattern(20_000 + index, index)]),
  );
  const { http1Port } = await fixture(t, files);
  const socket = connect(http1Port, '127.0.0.1');
  const order = Array.from({ length: COUNT }, (_, index) => `f${index % 10}`);
  const lines = order.map((name, index) => {
    return `GET /${name} HTTP/1.1\r\nHost: x\r\n${index === COUNT - 1 ? 'Connection: close\r\n' : ''}\r\n`;
  });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.write(lines.join(''));
  await once(socket, 'close');
  let rest = Buffer.concat(chunks);
  for (const name of order) {
    const end = rest.indexOf('\r\n\r\n') + 4;
    const expected = files[name] ?? Buffer.alloc(0);
    t.regex(rest.subarray(0, end).toString('latin1'), /^HTTP\/1\.1 200 /);
    t.true(expected.equals(rest.subarray(end, end + expected.byteLength)));
    rest = rest.subarray(end + expected.byteLength);
  }
  t.is(rest.byteLength, 0);
});
