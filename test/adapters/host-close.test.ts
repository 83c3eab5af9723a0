import http2, { type ServerHttp2Stream } from 'node:http2';
import test from 'ava';
import { assertAllBack, assertBytes, openFileSite, responsesOf } from '../helpers/file-site.js';
import { MIB, writePattern } from '../helpers/files.js';
import { Frames } from '../helpers/frames.js';
import { settled, until } from '../helpers/poll.js';

const { NGHTTP2_NO_ERROR, NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL } = http2.constants;

for (const isStalled of [false, true]) {
  for (const code of [NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL, NGHTTP2_NO_ERROR]) {
    const title = `a stream that the host closes with code ${code}${isStalled ? ' while bytes are queued' : ''}`;
    test(`${title} ends early, and the session stays usable`, async (t) => {
      const streams: ServerHttp2Stream[] = [];
      const site = await openFileSite(t, 'h2c', {
        onExchange: ({ body }) => streams.push(body as ServerHttp2Stream), // the body of an HTTP/2 exchange
      });
      const { handler } = site;
      writePattern(site.directory, 'victim', 32 * MIB, 1);
      const expected = writePattern(site.directory, 'other', MIB, 2);
      // The response stalls: the client does not read, or the flow-control window is too small for it.
      const client = await Frames.connect(t, site.server, isStalled ? {} : { windowSize: MIB });
      client.get(1, '/victim');
      await until('the response has begun', () => streams.length === 1);
      if (isStalled) client.socket.pause();
      await settled(() => handler.stats());
      streams[0]?.close(code);
      client.socket.resume();
      await until('the response is over', () => responsesOf(handler) === 1);
      const victim = client.stream(1);
      // If bytes are queued, Node 20.20 may send END_STREAM instead of the reset. The client then detects the wrong length.
      await until(
        'the client sees the end of the stream',
        () => victim.resetCode === code || (isStalled && victim.isEnded),
      );
      if (!isStalled) t.false(victim.isEnded);
      t.true(victim.bytes < 32 * MIB);
      client.get(3, '/other');
      await until('another response on the session is complete', () => client.stream(3).isEnded);
      assertBytes(t, client.stream(3).body, expected);
      await until('the stream is destroyed', () => streams[0]?.destroyed === true);
      await assertAllBack(t, site);
    });
  }
}
