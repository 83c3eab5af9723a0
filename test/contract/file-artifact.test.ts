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

test('a path is relative to the root, also if it begins with a slash', (t) => {
  for (const path of ['a/b', '/a/b', '//a//b', './a/./b']) {
    t.is(fileArtifact(path, { root: '/root' }).path, '/root/a/b', path);
    t.is(fileArtifact(path, { root: '/root/' }).path, '/root/a/b', path);
  }
  t.is(fileArtifact('/root/a', { root: '/root' }).path, '/root/root/a');
  t.is(fileArtifact('a..b/..c', { root: '/' }).path, '/a..b/..c');
  // Without a root, open(2) alone decides.
  t.is(fileArtifact('/a/../b//').path, '/a/../b//');
  t.is(fileArtifact('/a\0b').path, '/');
});

test('a slash or a dot after the name of a file stays in the path, so that open(2) fails', (t) => {
  for (const path of ['a/', 'a//', 'a/.', 'a/./']) t.is(fileArtifact(path, { root: '/root' }).path, '/root/a/', path);
});

test('a path with a ".." segment or a NUL character, or without a name, becomes the root, which is not a regular file', (t) => {
  const paths = [
    '..',
    '../root2/a',
    'a/../b',
    'd/../../root/a',
    '/../root/a',
    'a/..',
    'a\0b',
    '',
    '.',
    '/',
    '//',
    './/',
  ];
  for (const path of paths) t.is(fileArtifact(path, { root: '/root' }).path, '/root', path);
});

test('throws for invalid arguments', (t) => {
  const refused: [unknown, unknown, RegExp][] = [
    [undefined, {}, /^path: expected the path of a file, received undefined$/],
    ['', {}, /^path: expected an absolute path, or the option 'root' .* received ''$/],
    ['a/b', {}, /^path: .* received 'a\/b'$/],
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
    ['/a', { contentType: 5 }, /^contentType: expected the value of a header/],
    ['/a', { contentType: 'text/plain\r\nx: y' }, /^contentType: expected the value of a header/],
    ['/a', { contentEncoding: 'gz\u0000ip' }, /^contentEncoding: /],
    ['/a', { cacheControl: 'max-age=5\u2028' }, /^cacheControl: /],
    ['/a', { headers: 'x: y' }, /^headers: expected an object/],
    ['/a', { headers: { 'x-note': 'line\nfeed' } }, /^headers: .* received \{ 'x-note': 'line\\nfeed' \}$/],
    ['/a', { headers: { 'x-note': '\u4f60' } }, /^headers: /],
    ['/a', { headers: { 'x-note': 5 } }, /^headers: /],
    ['/a', { headers: { 'x note': '' } }, /^headers: /],
    ['/a', { root: 'relative' }, /^root: expected an absolute path/],
    ['/a', { root: '/a/../b' }, /^root: /],
  ];
  for (const [path, options, message] of refused) {
    t.throws(
      () => fileArtifact(path as string, options as FileArtifactOptions),
      refusal('ERR_HOTBLOB_INVALID_OPTION', message),
    );
  }
});
