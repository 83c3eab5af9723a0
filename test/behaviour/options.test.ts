import test from 'ava';
import { HotblobError } from '../../src/contract/errors.js';
import { createHandler } from '../../src/handler/handler.js';
import type { HandlerOptions } from '../../src/handler/options.js';
import { memoryStore } from '../../src/stores/memory.js';
import { withSources } from '../helpers/sources.js';

const get = () => undefined;

/** Invalid options as JavaScript callers may pass them, the kind of error code, and the expected message. */
const REFUSED: [unknown, 'OPTION' | 'STORE', RegExp][] = [
  [undefined, 'OPTION', /^options: expected an object such as \{ store \}, received undefined$/],
  [null, 'OPTION', /^options: expected an object such as \{ store \}, received null$/],
  ['store', 'OPTION', /^options: expected an object such as \{ store \}, received 'store'$/],
  [{}, 'OPTION', /^store: .*received undefined$/],
  [{ store: null }, 'OPTION', /^store: .*received null$/],
  [{ store: 'directory' }, 'OPTION', /^store: .*received 'directory'$/],
  [{ store: {} }, 'STORE', /^store\.get: expected a function, received undefined$/],
  [{ store: { get: 'x' } }, 'STORE', /^store\.get: expected a function, received string$/],
  [{ store: { get, put: 1 } }, 'STORE', /^store\.put: expected a function, received number$/],
  [{ store: { get, put: null } }, 'STORE', /^store\.put: expected a function, received object$/],
  [{ store: { get, delete: true } }, 'STORE', /^store\.delete: /],
  [{ store: { get, close: {} } }, 'STORE', /^store\.close: /],
  [{ mountpath: '/a' }, 'OPTION', /^unknown option 'mountpath'; expected one of .*\bmountPath\b.*$/],
  [{ prefix: undefined }, 'OPTION', /^unknown option 'prefix'; expected one of /],
  [
    { mountPath: 'cache' },
    'OPTION',
    /^mountPath: expected a path that starts with "\/" and has no "\*", received 'cache'$/,
  ],
  [{ mountPath: '' }, 'OPTION', /^mountPath: /],
  [{ mountPath: 1 }, 'OPTION', /^mountPath: /],
  [{ fallthrough: 'yes' }, 'OPTION', /^fallthrough: expected true or false, received 'yes'$/],
  [{ maxUploadBytes: -1 }, 'OPTION', /^maxUploadBytes: .*received -1$/],
  [{ maxUploadBytes: 1.5 }, 'OPTION', /^maxUploadBytes: .*received 1\.5$/],
  [{ maxUploadBytes: '1GB' }, 'OPTION', /^maxUploadBytes: .*received '1GB'$/],
  [{ maxUploadBytes: Number.NaN }, 'OPTION', /^maxUploadBytes: .*received NaN$/],
  [{ maxPooledBytes: 1000 }, 'OPTION', /^maxPooledBytes: expected a whole number, 1048576 or more, received 1000$/],
  [{ maxPooledBytes: Number.POSITIVE_INFINITY }, 'OPTION', /^maxPooledBytes: /],
  [{ maxOpenFiles: 0 }, 'OPTION', /^maxOpenFiles: expected a whole number, 1 or more, received 0$/],
  [{ map: 'sometimes' }, 'OPTION', /^map: expected 'auto', 'always', 'never', received 'sometimes'$/],
  [{ map: true }, 'OPTION', /^map: /],
  [{ memory: 'low' }, 'OPTION', /^memory: expected an object, received 'low'$/],
  [{ memory: {} }, 'OPTION', /^memory: expected an object with level and headroomBytes, received \{\}$/],
  [{ memory: { level: 'normal', headroomBytes: '1' } }, 'OPTION', /^memory: /],
];

for (const [index, [options, code, message]] of REFUSED.entries()) {
  test(`invalid options are rejected with ${message.source} (${index})`, (t) => {
    const isPartial = typeof options === 'object' && options !== null && Object.keys(options).length > 0;
    // JavaScript callers are not type-checked.
    const untyped = (isPartial ? { store: { get }, ...options } : options) as HandlerOptions;
    const error = t.throws(() => createHandler(untyped), { instanceOf: HotblobError, message });
    t.is(error?.code, `ERR_HOTBLOB_INVALID_${code}`);
    t.is(error?.name, 'HotblobError');
  });
}

test('an undefined option counts as absent, and the options object is not modified', (t) => {
  const options: HandlerOptions = Object.freeze({
    store: Object.freeze(memoryStore()),
    mountPath: undefined,
    fallthrough: undefined,
    maxUploadBytes: undefined,
    maxPooledBytes: undefined,
    maxOpenFiles: undefined,
    map: undefined,
    memory: undefined,
  });
  const handler = createHandler(options);
  t.deepEqual(handler.stats().responses, {});
  t.is(handler.stats().openFiles, 0);
  handler.close();
});

test('without native bindings, files are neither mapped nor copied from the page cache', (t) => {
  const handler = createHandler(
    withSources<HandlerOptions>({ store: { get }, bindings: { mmapIo: false, libc: false }, maxUploadBytes: 0 }),
  );
  t.like(handler.stats(), { mapper: undefined, copiesResident: false, mappings: 0 });
  handler.close();
});

test('closing a handler twice has no further effect', (t) => {
  const handler = createHandler({ store: { get } });
  handler.close();
  t.notThrows(() => handler.close());
});
