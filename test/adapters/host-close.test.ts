import http2, { type ServerHttp2Stream } from 'node:http2';
import test from 'ava';
import { assertAllBack, assertBytes, openFileSite, responsesOf } from '../helpers/file-site.js';
import { MIB, writePattern } from '../helpers/files.js';
import { Frames } from '../helpers/frames.js';
import { settled, until } from '../helpers/poll.js';

const { NGHTTP2_NO_ERROR, NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL } = http2.constants;

for (const isStalled of [false, true]) {
  for (const code of [NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL, NGHTTP2_NO_ERROR]) {
    const title = `a host that closes a stream with code ${code}${isStalled ? ', its bytes being queued,' : ''}`;
    test(`${title} cuts it off, and the session goes on`, async (t) => {
      const streams: ServerHttp2Stream[] = [];
      const site = await openFileSite(t, 'h2c', {
        onExchange: ({ body }) => streams.push(body as ServerHttp2Stream), // as it is on HTTP/2
      });
      const { handler } = site;
      writePattern(site.directory, 'victim', 32 * MIB, 1);
      const expected = writePattern(site.directory, 'other', MIB, 2);
      // Without the means to send it all, or without a reader.
      const client = await Frames.connect(t, site.server, isStalled ? {} : { windowSize: MIB });
      client.get(1, '/victim');
      await until('it has begun', () => streams.length === 1);
      if (isStalled) client.socket.pause();
      await settled(() => handler.stats());
      streams[0]?.close(code);
      client.socket.resume();
      await until('the response is over', () => responsesOf(handler) === 1);
      const victim = client.stream(1);
      // Where bytes are queued Node (20.20) may let an END_STREAM go instead of the reset: the length tells the client then.
      await until('the client is told', () => victim.resetCode === code || (isStalled && victim.isEnded));
      if (!isStalled) t.false(victim.isEnded);
      t.true(victim.bytes < 32 * MIB);
      client.get(3, '/other');
      await until('the session goes on', () => client.stream(3).isEnded);
      assertBytes(t, client.stream(3).body, expected);
      await until('the stream is gone', () => streams[0]?.destroyed === true);
      await assertAllBack(t, site);
    });
  }
}
