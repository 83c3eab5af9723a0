import test from 'ava';
import { content, put, refusal } from '../fixture.js';
import { lookUp, startUpstream, storeOf, WIRES } from './fixture.js';

const BYTES = content(1000);

for (const wire of WIRES) {
  test(`${wire}: metadata of an upload is sent as request headers`, async (t) => {
    const seen: Record<string, unknown>[] = [];
    const upstream = await startUpstream(t, wire, (request, response) => {
      seen.push(request.headers);
      request.resume().on('end', () => response.end());
    });
    const store = storeOf(t, upstream, { token: 'secret' });
    await put(store, 'a', BYTES);
    await put(store, 'a', BYTES, {
      metadata: {
        contentType: 'text/x-artifact',
        contentEncoding: 'gzip',
        cacheControl: 'max-age=60',
        headers: {
          'X-Artifact-Tag': 'abc',
          'tuist-checksum-sha256': '00ff',
          'x-artifact-latin': 'caf\u00e9',
        },
      },
    });
    const [plain, described] = seen;
    t.like(plain, { 'content-type': 'application/octet-stream', authorization: 'Bearer secret' });
    t.is(plain?.['content-encoding'], undefined);
    t.is(plain?.['cache-control'], undefined);
    t.like(described, {
      'content-type': 'text/x-artifact',
      'content-encoding': 'gzip',
      'cache-control': 'max-age=60',
      'x-artifact-tag': 'abc',
      'tuist-checksum-sha256': '00ff',
      'x-artifact-latin': 'caf\u00e9',
      authorization: 'Bearer secret',
      'content-length': '1000',
    });
  });

  test(`${wire}: only response headers about artifacts become metadata`, async (t) => {
    const upstream = await startUpstream(t, wire, (_request, response) => {
      response.setHeader('content-type', 'text/x-artifact');
      response.setHeader('x-artifact-tag', 'abc');
      response.setHeader('x-artifact-latin', 'caf\u00e9');
      for (const name of [
        'server',
        'set-cookie',
        'x-accel-redirect',
        'x-sendfile',
        'refresh',
        'service-worker-allowed',
      ]) {
        response.setHeader(name, '1');
      }
      response.end(BYTES);
    });
    const artifact = await lookUp(storeOf(t, upstream), 'a');
    t.is(artifact.contentType, 'text/x-artifact');
    t.deepEqual(artifact.headers, { 'x-artifact-tag': 'abc', 'x-artifact-latin': 'caf\u00e9' });
  });
}

test('a response without metadata yields an artifact without headers', async (t) => {
  const upstream = await startUpstream(t, 'http', (_request, response) => void response.end(BYTES));
  t.is((await lookUp(storeOf(t, upstream), 'a')).headers, undefined);
});

test('metadata that is too large is refused without a request', async (t) => {
  const upstream = await startUpstream(t, 'http', (_request, response) => void response.end());
  const metadata = { headers: { 'x-artifact-tag': 'x'.repeat(5000) } };
  await t.throwsAsync(put(storeOf(t, upstream), 'a', BYTES, { metadata }), refusal('ERR_HOTBLOB_METADATA_TOO_LARGE'));
  t.deepEqual(upstream.requests, []);
});
