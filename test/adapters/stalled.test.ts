import { once } from 'node:events';
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import test, { type ExecutionContext } from 'ava';
import { eventually, type Fixture, fixture, MIB, pattern } from './fixture.js';

const artifact = pattern(16 * MIB, 2);

/** A session with streams that have asked for the artifact, and read nothing of it. */
async function withStalledStreams(t: ExecutionContext, site: Fixture, count: number): Promise<ClientHttp2Session> {
  const session = http2.connect(`http://127.0.0.1:${site.h2cPort}`, { settings: { initialWindowSize: 65_535 } });
  t.teardown(() => session.destroy());
  session.on('error', () => {});
  await once(session, 'connect');
  // Of the connection's window only its streams are to run out.
  session.setLocalWindowSize(256 * MIB);
  const streams: ClientHttp2Stream[] = [];
  for (let index = 0; index < count; index++) {
    const stream = session.request({ ':path': '/artifact' });
    stream.on('error', () => {});
    stream.pause();
    streams.push(stream);
  }
  await Promise.all(streams.map((stream) => once(stream, 'response')));
  return session;
}

async function download(session: ClientHttp2Session): Promise<Buffer> {
  const stream = session.request({ ':path': '/artifact' });
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(stream, 'end');
  return Buffer.concat(chunks);
}

for (const only of ['mapped', 'copied', 'read'] as const) {
  for (const count of [8, 100]) {
    test(`${count} streams that do not read leave the one that does its artifact (${only})`, async (t) => {
      const site = await fixture(t, { artifact }, { only });
      const session = await withStalledStreams(t, site, count);
      const received = await download(session);
      t.is(received.byteLength, artifact.byteLength);
      t.true(artifact.equals(received));
      session.destroy();
      await eventually(t, 'all is given back', () => {
        const { mappedBytes, pooledBytes } = site.handler.stats();
        return mappedBytes + pooledBytes === 0;
      });
    });
  }
}
