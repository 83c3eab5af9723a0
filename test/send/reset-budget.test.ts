import { once } from 'node:events';
import http2, { type ClientHttp2Session } from 'node:http2';
import test from 'ava';
import { afterHttp2Read } from '../../src/util/after-http2-read.js';
import { openFileSite } from '../helpers/file-site.js';
import { MIB, writePattern } from '../helpers/files.js';
import { until } from '../helpers/poll.js';

const DOWNLOADS = 700;

for (const kind of ['h2c', 'h2', 'port-h2c'] as const) {
  test(`${kind}: a client that cancels 700 downloads gets GOAWAY and reconnects, and no stream is refused for lack of memory`, async (t) => {
    const site = await openFileSite(t, kind, { artifact: { immutable: false } });
    writePattern(site.directory, 'file', MIB, 1);
    let sessions = 0;
    // With a window of 0 bytes the client receives nothing, so that a reset loses all written bytes.
    const connect = async (): Promise<ClientHttp2Session> => {
      sessions++;
      const session = http2.connect(`${site.server.tls ? 'https' : 'http'}://127.0.0.1:${site.server.port}`, {
        ca: site.server.certificate?.cert,
        settings: { initialWindowSize: 0 },
      });
      session.on('error', () => {});
      t.teardown(() => afterHttp2Read(() => session.destroy()));
      await once(session, 'remoteSettings');
      return session;
    };
    let session = await connect();
    for (let count = 0; count < DOWNLOADS; count++) {
      if (session.closed || session.destroyed) session = await connect();
      const stream = session.request({ ':path': '/file' });
      const codes: number[] = [];
      stream.on('error', () => {}).on('close', () => codes.push(stream.rstCode));
      let status = 0;
      stream.on('response', (headers) => {
        status = Number(headers[':status']);
      });
      await until('the stream has a response or is closed', () => status !== 0 || codes.length > 0);
      // A stream that was opened while a GOAWAY was in flight is refused, and the client repeats it.
      if (codes[0] === http2.constants.NGHTTP2_REFUSED_STREAM) continue;
      t.deepEqual([status, codes], [200, []]);
      await until('bytes are in flight', () => site.handler.stats().pooledBytes > 0);
      stream.close(http2.constants.NGHTTP2_CANCEL);
      await until('the stream is closed', () => codes.length > 0);
    }
    t.true(sessions > 1 && sessions < DOWNLOADS / 10, `${sessions} sessions`);
  });
}
