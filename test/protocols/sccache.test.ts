import { spawnSync } from 'node:child_process';
import { Readable } from 'node:stream';
import test from 'ava';
import fc from 'fast-check';
import { plain } from '../../src/protocols/plain.js';
import type { ProtocolArtifacts, ProtocolRequest, Reply } from '../../src/protocols/protocol.js';
import { sccache } from '../../src/protocols/sccache.js';
import { multiStatus } from '../../src/protocols/webdav-xml.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { assertBody, assertError, open } from '../behaviour/site.js';
import { PYTHON } from '../helpers/peers.js';
import { content, temporaryDirectory } from '../stores/fixture.js';

const KINDS = ['http', 'port-h2c'] as const;
const HASH = '0123456789abcdef'.repeat(4);
const ENTRY = `/sccache/team/0/1/2/${HASH}`;
const PROPFIND = {
  headers: { 'content-type': 'application/xml', depth: '0' },
  body: Buffer.from('<?xml version="1.0" encoding="utf-8" ?><D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>'),
};

for (const kind of KINDS) {
  test(`${kind}: answers the requests of sccache at startup, a miss, a write and a hit, as opendal sends them`, async (t) => {
    const { ask } = await open(t, kind, { store: memoryStore(), protocols: [sccache(), plain()] });
    t.is((await ask('GET', '/sccache/team/.sccache_check')).status, 404);
    const parent = await ask('PROPFIND', '/sccache/team/', PROPFIND);
    t.is(parent.status, 207);
    t.is(parent.headers['content-type'], 'application/xml; charset=utf-8');
    const collection =
      '<D:response><D:href>/sccache/team/</D:href><D:propstat><D:prop>' +
      '<D:getlastmodified>Thu, 01 Jan 1970 00:00:00 GMT</D:getlastmodified>' +
      '<D:resourcetype><D:collection/></D:resourcetype>' +
      '</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>';
    t.is(
      parent.body.toString(),
      `<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">${collection}</D:multistatus>\n`,
    );
    t.is((await ask('PUT', '/sccache/team/.sccache_check', { body: Buffer.from('Hello, World!') })).status, 200);
    assertBody(t, (await ask('GET', '/sccache/team/.sccache_check')).body, 'Hello, World!');

    t.is((await ask('GET', ENTRY)).status, 404);
    t.is((await ask('PROPFIND', '/sccache/team/0/1/2/', PROPFIND)).status, 207);
    const body = content(100_000);
    t.is((await ask('PUT', ENTRY, { body })).status, 200);
    t.is((await ask('PUT', ENTRY, { body })).status, 200, 'a second upload');
    assertBody(t, (await ask('GET', ENTRY)).body, body);
    t.is((await ask('HEAD', ENTRY)).headers['content-length'], '100000');
    const part = await ask('GET', ENTRY, { headers: { range: 'bytes=10-19' } });
    t.is(part.status, 206);
    assertBody(t, part.body, body.subarray(10, 20));
    t.is((await ask('GET', `/sccache//team/0/1/2/${HASH}`)).status, 200, 'an endpoint with a trailing slash');
    t.is((await ask('MKCOL', '/sccache/team/0/1/2/')).status, 201);
    t.is((await ask('DELETE', ENTRY)).status, 204);
    t.is((await ask('DELETE', ENTRY)).status, 404);
    assertError(t, await ask('GET', ENTRY), 404);
  });

  test(`${kind}: PROPFIND returns the properties of an artifact`, async (t) => {
    const { ask } = await open(t, kind, { store: memoryStore(), mountPath: '/caches', protocols: [sccache()] });
    const path = `/caches${ENTRY}`;
    assertError(t, await ask('PROPFIND', path, PROPFIND), 404);
    t.is((await ask('PUT', path, { body: content(4711) })).status, 200);
    const { etag, 'last-modified': lastModified } = (await ask('HEAD', path)).headers;
    const { status, body } = await ask('PROPFIND', path, PROPFIND);
    t.is(status, 207);
    t.true(body.includes(`<D:href>${path}</D:href>`), 'includes the mount path');
    t.true(body.includes('<D:resourcetype></D:resourcetype>'));
    t.true(body.includes('<D:getcontentlength>4711</D:getcontentlength>'));
    t.true(body.includes(`<D:getlastmodified>${lastModified}</D:getlastmodified>`));
    t.true(body.includes(`<D:getetag>${etag}</D:getetag>`));
    t.true(body.includes('<D:status>HTTP/1.1 200 OK</D:status>'));
  });

  test(`${kind}: rejects invalid paths and methods, and ignores other paths`, async (t) => {
    const { ask } = await open(t, kind, { store: memoryStore(), protocols: [sccache()] });
    for (const path of [
      '/sccache/',
      '/sccache/a/',
      '/sccache/a//b',
      '/sccache/a%2fb',
      '/sccache/%ff',
      '/sccache/a%00',
    ]) {
      for (const method of ['GET', 'PUT', 'DELETE']) {
        assertError(t, await ask(method, path, { body: method === 'PUT' ? content(1) : undefined }), 400);
      }
    }
    for (const method of ['PROPFIND', 'MKCOL']) {
      for (const path of ['/sccache/a//', '/sccache/a%00/', '/sccache/%5c/']) {
        assertError(t, await ask(method, path), 400);
      }
    }
    assertError(t, await ask('GET', `/sccache/${'a'.repeat(1024)}`), 414);
    const lock = await ask('LOCK', ENTRY);
    assertError(t, lock, 405);
    t.is(lock.headers.allow, 'GET, HEAD, PUT, DELETE, PROPFIND, MKCOL');
    for (const depth of ['1', 'infinity']) {
      const listing = await ask('PROPFIND', '/sccache/', { headers: { depth } });
      t.is(listing.status, 403);
      t.true(listing.body.includes('<D:propfind-finite-depth/>'));
    }
    t.is((await ask('PROPFIND', '/sccache/', { ...PROPFIND, body: content(64 * 1024 + 1) })).status, 413);
    for (const path of ['/sccache', '/sccacher/a', '/']) assertError(t, await ask('GET', path), 404);
  });
}

test('answers MKCOL and PUT with 405 if the store is read-only', async (t) => {
  const { get } = memoryStore();
  const { ask } = await open(t, 'http', { store: { get }, protocols: [sccache()] });
  assertError(t, await ask('MKCOL', '/sccache/a/'), 405);
  assertError(t, await ask('PUT', ENTRY, { body: content(1) }), 405);
});

test('stores artifacts in a directory store after MKCOL of their parents', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  const { ask } = await open(t, 'http', { store, protocols: [sccache({ path: '/a/cache' })] });
  t.is((await ask('MKCOL', '/a/cache/team/0/')).status, 201);
  t.is((await ask('PUT', `/a/cache/team/0/1/2/${HASH}`, { body: content(10) })).status, 200);
  t.true(
    (await ask('PROPFIND', `/a/cache/team/0/1/2/${HASH}`)).body.includes('<D:getcontentlength>10</D:getcontentlength>'),
  );
  t.is((await ask('GET', ENTRY)).status, 404);
  await store.close();
});

test('the first segment is the namespace of every operation', (t) => {
  const namespaceOf = (method: string, path: string) => {
    const operation = sccache().route({ method, path, query: new URLSearchParams(), headers: {} });
    return operation !== undefined && 'namespace' in operation ? operation.namespace : undefined;
  };
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'PROPFIND', 'MKCOL']) {
    for (const rest of ['team/x', 'team/', 'team/0/1/2/', `team/0/1/2/${HASH}`, '/team/x', '%74eam/x']) {
      t.is(namespaceOf(method, `/sccache/${rest}`), 'team', `${method} ${rest}`);
    }
    for (const rest of ['', 'a/', `a/b/c/${HASH}`, '.sccache_check']) {
      t.is(namespaceOf(method, `/sccache/${rest}`), undefined, `${method} ${rest}`);
    }
  }
});

test('rejects an invalid path', (t) => {
  for (const path of ['/', '/a/', 'a', '/a b', 7]) {
    t.throws(() => sccache({ path: path as string }), {
      code: 'ERR_HOTBLOB_INVALID_OPTION',
      message: /^path: expected/,
    });
  }
  t.throws(() => sccache({ pth: '/a' } as object), {
    code: 'ERR_HOTBLOB_INVALID_OPTION',
    message: /^unknown option 'pth'; expected one of path$/,
  });
});

test('two paths have the same key only if their segments are equal', (t) => {
  const segment = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 });
  const keyOf = (path: string): string | undefined => {
    try {
      const operation = sccache().route({ method: 'GET', path, query: new URLSearchParams(), headers: {} });
      return operation?.kind === 'read' ? operation.key : undefined;
    } catch {
      return undefined;
    }
  };
  fc.assert(
    fc.property(
      fc.array(segment, { minLength: 1, maxLength: 4 }),
      fc.array(segment, { minLength: 1, maxLength: 4 }),
      (a, b) => {
        const [first, second] = [a, b].map((each) => keyOf(`/sccache/${each.map(encodeURIComponent).join('/')}`));
        fc.pre(first !== undefined && second !== undefined);
        t.is(first === second, a.join('\0') === b.join('\0'));
      },
    ),
  );
});

/** Returns the text of href, etag and type of each document, as Python's XML parser reads them. */
function parseDocuments(documents: readonly string[]): unknown {
  const script = `
import json, sys
from xml.etree import ElementTree
def text(document, name):
    found = document.find('.//{DAV:}' + name)
    return None if found is None else found.text
documents = [ElementTree.fromstring(each.encode()) for each in json.load(sys.stdin)]
json.dump([[text(each, name) for name in ('href', 'getetag', 'getcontenttype')] for each in documents], sys.stdout)`;
  const { status, stdout, stderr } = spawnSync(PYTHON, ['-c', script], {
    input: JSON.stringify(documents),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

test('responses are well-formed XML for any path, tag and type', async (t) => {
  const any = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 });
  const hrefs: string[] = [];
  const documents: string[] = [];
  for (const segments of fc.sample(fc.array(any, { maxLength: 3 }), 200)) {
    const path = `/sccache/${segments.map((each) => `${encodeURIComponent(each)}/`).join('')}`;
    const request: ProtocolRequest = { method: 'PROPFIND', path, query: new URLSearchParams(), headers: {} };
    try {
      const operation = sccache().route(request);
      if (operation?.kind !== 'answer') continue;
      documents.push(textOf((await operation.answer(emptyBody)) as Reply));
      hrefs.push(path);
    } catch {} // The path is not a valid key.
  }
  t.true(documents.length > 50, `${documents.length} documents`);
  t.deepEqual(
    parseDocuments(documents),
    hrefs.map((href) => [href, null, null]),
  );

  const tags = [...fc.sample(any, 200), '</D:href>', ']]>', '&amp;', '\ud800', '\uffff'];
  const described = tags.map((etag) => {
    const artifact = { size: 1, etag, lastModified: undefined, metadata: { contentType: etag } };
    return textOf(multiStatus({ href: '/x', artifact }));
  });
  const properties = parseDocuments(described) as string[][];
  for (const [index, tag] of tags.entries()) {
    // XML normalizes line ends (section 2.11). Other allowed characters are returned unchanged.
    if (!/^[ -\ud7ff]*$/.test(tag)) continue;
    t.deepEqual(properties[index], ['/x', tag, tag]);
  }
});

const emptyBody = { body: () => Readable.from([]) } as unknown as ProtocolArtifacts;

function textOf({ body }: Reply): string {
  return String(body?.text ?? '');
}
