import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import test, { type ExecutionContext } from 'ava';
import type { RunningServer } from '../helpers/servers.js';
import { MIB, writePattern } from '../support/files.js';
import { settled, until } from '../support/poll.js';
import { assertAllBack, assertBytes, openFileSite } from '../support/site.js';

const SIZE = 16 * MIB;

function connect(t: ExecutionContext, server: RunningServer): ClientHttp2Session {
  const session = http2.connect(`${server.tls ? 'https' : 'http'}://127.0.0.1:${server.port}`, {
    ca: server.certificate?.cert,
    // A window that many stalled streams do not use up: the connection's own would stop everybody.
    settings: { initialWindowSize: 64 * 1024 },
  });
  session.on('error', () => {}).on('connect', () => session.setLocalWindowSize(64 * MIB));
  t.teardown(() => session.destroy());
  return session;
}

async function readAll(stream: ClientHttp2Stream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

for (const kind of ['h2c', 'h2'] as const) {
  for (const only of [undefined, 'copied', 'read'] as const) {
    test(`${kind}, ${only ?? 'every source'}: streams that nobody reads do not hold up the one that is read`, async (t) => {
      for (const count of [8, 100]) {
        const site = await openFileSite(t, kind, { only });
        const expected = writePattern(site.directory, 'file', SIZE, 1);
        const session = connect(t, site.server);
        let begun = 0;
        for (let index = 0; index < count; index++) {
          const stalled = session.request({ ':path': '/file' });
          stalled.on('error', () => {}).on('response', () => begun++);
        }
        await until('all have begun', () => begun === count);
        await settled(() => site.handler.stats());
        const startedAt = performance.now();
        assertBytes(t, await readAll(session.request({ ':path': '/file' })), expected);
        const elapsedMs = performance.now() - startedAt;
        t.true(elapsedMs < 8000, `${elapsedMs} ms beside ${count}`);
        session.destroy();
        await assertAllBack(t, site);
      }
    });
  }
}
