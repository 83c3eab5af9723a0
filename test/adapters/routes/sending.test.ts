import { mkdir, realpath, symlink, writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import test from 'ava';
import type { Artifact } from '../../../src/contract/artifact.js';
import { fileArtifact } from '../../../src/contract/file-artifact.js';
import { assertBody, endToEnd } from '../../behaviour/site.js';
import { MISS_BODY, openRoute, ROUTE_KINDS } from '../../helpers/routes.js';
import { content, temporaryDirectory } from '../../stores/fixture.js';

const BYTES = content(300_000);

for (const kind of ROUTE_KINDS) {
  test(`${kind}: send supports ranges and preconditions`, async (t) => {
    const path = `${await temporaryDirectory(t)}/file`;
    await writeFile(path, BYTES);
    const lastModified = new Date('2023-01-02T10:00:00Z');
    const site = await openRoute(t, kind, {
      artifactOf: () => fileArtifact(path, { immutable: true, etag: '"tag"', lastModified }),
    });
    const whole = await site.ask('/any/path?query');
    t.is(whole.status, 200);
    assertBody(t, whole.body, BYTES);
    t.deepEqual(endToEnd(whole.headers), {
      'content-type': 'application/octet-stream',
      'content-length': '300000',
      'accept-ranges': 'bytes',
      'cache-control': 'no-cache, no-transform',
      'x-content-type-options': 'nosniff',
      etag: '"tag"',
      'last-modified': lastModified.toUTCString(),
    });
    const part = await site.ask('/', { headers: { range: 'bytes=-9' } });
    t.is(part.status, 206);
    assertBody(t, part.body, BYTES.subarray(-9));
    t.is((await site.ask('/', { headers: { 'if-none-match': '"tag"' } })).status, 304);
    t.is((await site.ask('/', { headers: { 'if-match': '"other"' } })).status, 412);
    t.is((await site.ask('/', { headers: { range: 'bytes=300000-' } })).status, 416);
    const head = await site.ask('/', { method: 'HEAD' });
    t.like(head, { status: 200, body: Buffer.alloc(0) });
    t.is(head.headers['content-length'], '300000');
    // The host has chosen the route, so every method except HEAD is answered like GET.
    const post = await site.ask('/', { method: 'POST', body: Buffer.alloc(0) });
    t.is(post.status, 200);
    assertBody(t, post.body, BYTES);
    t.deepEqual(site.outcomes, Array(7).fill(true));
    t.deepEqual(site.stats().responses, { 200: 3, 206: 1, 304: 1, 412: 1, 416: 1 });
  });

  test(`${kind}: headers set by the route are kept, and its status is replaced`, async (t) => {
    const path = `${await temporaryDirectory(t)}/file`;
    await writeFile(path, BYTES);
    const { ask } = await openRoute(t, kind, {
      artifactOf: () => fileArtifact(path, { contentType: 'text/plain' }),
      headers: {
        'x-request-id': 'r1',
        'cache-control': 'private, max-age=1',
        'content-type': 'application/x-host',
        'content-length': '5',
        'set-cookie': 'a=1',
      },
      status: 404,
    });
    const { status, headers, body } = await ask('/');
    t.is(status, 200);
    assertBody(t, body, BYTES);
    t.like(headers, {
      'x-request-id': 'r1',
      'cache-control': 'private, max-age=1, no-transform',
      'content-length': '300000',
      'set-cookie': ['a=1'],
    });
    // Express adds a charset.
    t.regex(String(headers['content-type']), /^application\/x-host(?:;|$)/);
    t.is((await ask('/', { headers: { range: 'bytes=0-4' } })).status, 206);
  });

  test(`${kind}: bytes and streams are sent`, async (t) => {
    const artifacts: Record<string, Artifact> = {
      '/bytes': { kind: 'bytes', bytes: BYTES },
      '/stream': { kind: 'stream', size: BYTES.byteLength, open: () => Readable.from([BYTES]) },
      '/unknown': { kind: 'stream', open: () => Readable.from([BYTES]) },
      '/empty': { kind: 'bytes', bytes: new Uint8Array(0) },
    };
    const { ask } = await openRoute(t, kind, { artifactOf: (url) => artifacts[url] ?? fileArtifact('/none') });
    for (const path of ['/bytes', '/stream', '/unknown']) assertBody(t, (await ask(path)).body, BYTES);
    t.like(await ask('/empty'), { status: 200, body: Buffer.alloc(0) });
  });

  test(`${kind}: for a missing file, a directory or a path outside the root, trySend resolves to false and the host responds`, async (t) => {
    const directory = await realpath(await temporaryDirectory(t));
    await writeFile(`${directory}/file`, BYTES);
    await mkdir(`${directory}/root`);
    await symlink(`${directory}/file`, `${directory}/root/link`);
    await writeFile(`${directory}/root/inside`, BYTES);
    await symlink(`${directory}/root`, `${directory}/alias`);
    const root = `${directory}/root`;
    const artifacts = [
      fileArtifact(`${directory}/none`),
      fileArtifact(`${directory}/file/below`),
      fileArtifact(`${directory}/${'a'.repeat(5000)}`),
      fileArtifact(directory),
      fileArtifact('/dev/null'),
      fileArtifact('link', { root }),
      fileArtifact('../file', { root }),
      fileArtifact('../root/inside', { root }),
      fileArtifact(`${root}/inside`, { root }),
      ...['inside/', 'inside//', 'inside/.', 'in\0side', '', '/'].map((path) => fileArtifact(path, { root })),
      fileArtifact(`${root}/inside/`),
      fileArtifact(`${root}/in\0side`),
    ];
    const site = await openRoute(t, kind, {
      artifactOf: (url) => artifacts[Number(url.slice(1))] ?? fileArtifact(url, { root: `${directory}/alias` }),
    });
    for (const index of artifacts.keys()) {
      const { status, body } = await site.ask(`/${index}`);
      t.is(status, 404, String(index));
      t.is(body.toString(), MISS_BODY);
    }
    t.deepEqual(site.outcomes, Array(artifacts.length).fill(false));
    // A leading slash is that of the root, and the root may be a symbolic link.
    t.is((await site.ask('/inside')).status, 200);
    t.is((await site.ask('/link')).status, 404);
  });
}
