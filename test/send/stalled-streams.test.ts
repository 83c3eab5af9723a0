import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import test, { type ExecutionContext } from 'ava';
import { afterHttp2Read } from '../../src/util/after-http2-read.js';
import { assertAllBack, assertBytes, openFileSite } from '../helpers/file-site.js';
import { MIB, writePattern } from '../helpers/files.js';
import { settled, until } from '../helpers/poll.js';
import type { RunningServer } from '../helpers/servers.js';

const SIZE = 16 * MIB;

function connect(t: ExecutionContext, server: RunningServer): ClientHttp2Session {
  const session = http2.connect(`${server.tls ? 'https' : 'http'}://127.0.0.1:${server.port}`, {
    ca: server.certificate?.cert,
    // Stalled streams must not use up the connection's window, which would stop all streams.
    settings: { initialWindowSize: 64 * 1024 },
  });
  session.on('error', () => {}).on('connect', () => session.setLocalWindowSize(64 * MIB));
  t.teardown(() => afterHttp2Read(() => session.destroy()));
  return session;
}

async function readAll(stream: ClientHttp2Stream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

for (const kind of ['h2c', 'h2'] as const) {
  for (const only of [undefined, 'mapped', 'copied', 'read'] as const) {
    test(`${kind}, ${only ?? 'every source'}: streams that the client does not read do not block one that it reads`, async (t) => {
      for (const count of [8, 100]) {
        const site = await openFileSite(t, kind, { only });
        const expected = writePattern(site.directory, 'file', SIZE, 1);
        const session = connect(t, site.server);
        let started = 0;
        for (let index = 0; index < count; index++) {
          const stalled = session.request({ ':path': '/file' });
          stalled.on('error', () => {}).on('response', () => started++);
        }
        await until('all streams have started', () => started === count);
        await settled(() => site.handler.stats());
        const download = readAll(session.request({ ':path': '/file' }));
        let isOver = false;
        void download.finally(() => {
          isOver = true;
        });
        await until(`the download completes beside ${count} stalled streams`, () => isOver);
        assertBytes(t, await download, expected);
        afterHttp2Read(() => session.destroy());
        await assertAllBack(t, site);
      }
    });
  }
}
