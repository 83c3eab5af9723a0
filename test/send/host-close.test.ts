import { once } from 'node:events';
import http2, { type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { streamListener } from '../../src/adapters/node.js';
import { createHandler } from '../../src/handler.js';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import { MIB, temporaryDirectory, writePattern } from '../support/files.js';
import { Frames } from '../support/frames.js';
import { settled, until } from '../support/poll.js';
import { assertBytes, filesOf, responsesOf } from '../support/site.js';

const { NGHTTP2_NO_ERROR, NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL } = http2.constants;

for (const isStalled of [false, true]) {
  for (const code of [NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL, NGHTTP2_NO_ERROR]) {
    const title = `a host that closes a stream with code ${code}${isStalled ? ', its bytes being queued,' : ''}`;
    test(`${title} cuts it off, and the session goes on`, async (t) => {
      const directory = await temporaryDirectory(t);
      writePattern(directory, 'victim', 32 * MIB, 1);
      const expected = writePattern(directory, 'other', MIB, 2);
      const handler = createHandler({ store: filesOf(directory), memory: fixedMemoryPressure('normal') });
      const streams: ServerHttp2Stream[] = [];
      const server = http2.createServer();
      server.on('stream', (stream) => streams.push(stream)).on('stream', streamListener(handler));
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      t.teardown(() => {
        handler.close();
        server.close();
      });
      // Without the means to send it all, or without a reader.
      const client = await Frames.connect(
        t,
        (server.address() as AddressInfo).port,
        isStalled ? {} : { windowSize: MIB },
      );
      client.get(1, '/victim');
      await until('it has begun', () => streams.length === 1);
      if (isStalled) client.socket.pause();
      await settled(() => handler.stats());
      streams[0]?.close(code);
      client.socket.resume();
      await until('the response is over', () => responsesOf(handler) === 1);
      await until('the client is told', () => client.stream(1).resetCode === code);
      t.false(client.stream(1).isEnded);
      client.get(3, '/other');
      await until('the session goes on', () => client.stream(3).isEnded);
      assertBytes(t, client.stream(3).body, expected);
      await until('all is given back', () => handler.stats().mappedBytes + handler.stats().pooledBytes === 0);
      await until('the stream is gone', () => streams[0]?.destroyed === true);
      client.socket.destroy();
    });
  }
}
