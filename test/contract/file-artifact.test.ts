import { resolve } from 'node:path';
import test from 'ava';
import { type FileArtifactOptions, fileArtifact } from '../../src/contract/file-artifact.js';
import { refusal } from '../stores/fixture.js';

test('returns an artifact with the path and the options', (t) => {
  t.deepEqual(fileArtifact('/a/b'), { kind: 'file', path: '/a/b' });
  const options: FileArtifactOptions = {
    immutable: true,
    offset: 0,
    length: 5,
    etag: 'W/"tag"',
    lastModified: new Date(0),
    contentType: 'text/plain',
    contentEncoding: 'gzip',
    cacheControl: 'max-age=5',
    headers: { 'x-note': 'a' },
  };
  t.deepEqual(fileArtifact('/a/b', options), { ...options, kind: 'file', path: '/a/b' });
  // An undefined option counts as absent.
  t.like(fileArtifact('/a', { etag: undefined, root: undefined }), { kind: 'file', path: '/a' });
});

test('resolves a relative path against the root, or against the working directory without a root', (t) => {
  t.is(fileArtifact('a/../b').path, resolve('b'));
  t.is(fileArtifact('a/./b', { root: '/root' }).path, '/root/a/b');
  t.is(fileArtifact('/root/a', { root: '/root/' }).path, '/root/a');
});

test('a path outside the root becomes the path of the root, which is not a regular file', (t) => {
  for (const path of ['..', '../root2/a', '/root2/a', '/etc/passwd', 'a/../../b', '.', '/root']) {
    t.is(fileArtifact(path, { root: '/root' }).path, '/root', path);
  }
  t.is(fileArtifact('../etc/passwd', { root: '/' }).path, '/etc/passwd');
});

test('throws for invalid arguments', (t) => {
  const refused: [unknown, unknown, RegExp][] = [
    [undefined, {}, /^path: expected the path of a file, received undefined$/],
    ['', {}, /^path: .* received ''$/],
    [Buffer.from('/a'), {}, /^path: /],
    ['/a', null, /^options: expected an object, received null$/],
    ['/a', { imutable: true }, /^unknown option 'imutable'; expected one of .*\bimmutable\b/],
    ['/a', { kind: 'bytes' }, /^unknown option 'kind'; /],
    ['/a', { path: '/b' }, /^unknown option 'path'; /],
    ['/a', { toString: () => '' }, /^unknown option 'toString'; /],
    ['/a', { immutable: 'yes' }, /^immutable: expected true or false, received 'yes'$/],
    ['/a', { offset: -1 }, /^offset: /],
    ['/a', { length: 1.5 }, /^length: /],
    ['/a', { etag: 'tag' }, /^etag: expected an entity tag/],
    ['/a', { etag: '"a"b"' }, /^etag: /],
    ['/a', { lastModified: 0 }, /^lastModified: expected a valid Date, received 0$/],
    ['/a', { lastModified: new Date(Number.NaN) }, /^lastModified: /],
    ['/a', { contentType: 5 }, /^contentType: expected a string/],
    ['/a', { headers: 'x: y' }, /^headers: expected an object/],
    ['/a', { root: 'relative' }, /^root: expected an absolute path/],
    ['/a', { root: '/a/../b' }, /^root: /],
  ];
  for (const [path, options, message] of refused) {
    t.throws(
      () => fileArtifact(path as string, options as FileArtifactOptions),
      refusal('ERR_HOTBLOB_INVALID_OPTION', message),
    );
  }
  for (const options of [{}, { root: '/root' }]) {
    const error = t.throws(() => fileArtifact('a\0b', options), refusal('ERR_HOTBLOB_INVALID_KEY'));
    t.like(error, { status: 400, statusCode: 400 });
  }
});
