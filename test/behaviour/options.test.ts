import test from 'ava';
import { HotblobError } from '../../src/errors.js';
import { createHandler } from '../../src/handler.js';
import type { HandlerOptions } from '../../src/options.js';
import { memoryStore } from '../../src/stores/memory.js';

const get = () => undefined;

/** Options as JavaScript might pass them, the code that refuses them, and what the message must name. */
const REFUSED: [unknown, 'OPTION' | 'STORE', RegExp][] = [
  [undefined, 'OPTION', /^options: expected an object, found undefined$/],
  [null, 'OPTION', /^options: expected an object, found null$/],
  ['store', 'OPTION', /^options: expected an object, found 'store'$/],
  [{}, 'OPTION', /^store: .*found undefined$/],
  [{ store: null }, 'OPTION', /^store: .*found null$/],
  [{ store: 'directory' }, 'OPTION', /^store: .*found 'directory'$/],
  [{ store: {} }, 'STORE', /^store\.get: expected a function, found undefined$/],
  [{ store: { get: 'x' } }, 'STORE', /^store\.get: expected a function, found string$/],
  [{ store: { get, put: 1 } }, 'STORE', /^store\.put: expected a function, found number$/],
  [{ store: { get, put: null } }, 'STORE', /^store\.put: expected a function, found object$/],
  [{ store: { get, delete: true } }, 'STORE', /^store\.delete: /],
  [{ store: { get, close: {} } }, 'STORE', /^store\.close: /],
  [{ mountpath: '/a' }, 'OPTION', /^mountpath: expected one of the options .*\bmountPath\b.*, found 'mountpath'$/],
  [{ prefix: undefined }, 'OPTION', /^prefix: expected one of the options /],
  [{ mountPath: 'cache' }, 'OPTION', /^mountPath: expected a path that starts with "\/", found 'cache'$/],
  [{ mountPath: '' }, 'OPTION', /^mountPath: /],
  [{ mountPath: 1 }, 'OPTION', /^mountPath: /],
  [{ fallthrough: 'yes' }, 'OPTION', /^fallthrough: expected true or false, found 'yes'$/],
  [{ maxUploadBytes: -1 }, 'OPTION', /^maxUploadBytes: .*found -1$/],
  [{ maxUploadBytes: 1.5 }, 'OPTION', /^maxUploadBytes: .*found 1\.5$/],
  [{ maxUploadBytes: '1GB' }, 'OPTION', /^maxUploadBytes: .*found '1GB'$/],
  [{ maxUploadBytes: Number.NaN }, 'OPTION', /^maxUploadBytes: .*found NaN$/],
  [{ poolBytes: 1000 }, 'OPTION', /^poolBytes: expected a whole number from 1048576, found 1000$/],
  [{ poolBytes: Number.POSITIVE_INFINITY }, 'OPTION', /^poolBytes: /],
  [{ maxOpenFiles: 0 }, 'OPTION', /^maxOpenFiles: expected a whole number from 1, found 0$/],
  [{ map: 'sometimes' }, 'OPTION', /^map: expected 'auto', 'always', 'never', found 'sometimes'$/],
  [{ map: true }, 'OPTION', /^map: /],
  [{ only: 'bytes' }, 'OPTION', /^only: expected 'mapped', 'copied', 'read', found 'bytes'$/],
  [{ memory: 'low' }, 'OPTION', /^memory: expected an object, found 'low'$/],
  [{ memory: {} }, 'OPTION', /^memory: expected an object with level and headroomBytes, found \{\}$/],
  [{ memory: { level: 'normal', headroomBytes: '1' } }, 'OPTION', /^memory: /],
  [{ bindings: false }, 'OPTION', /^bindings: expected an object, found false$/],
];

for (const [index, [options, code, message]] of REFUSED.entries()) {
  test(`refused: ${message.source} (${index})`, (t) => {
    const isPartial = typeof options === 'object' && options !== null && Object.keys(options).length > 0;
    // as from JavaScript, where nobody checks
    const given = (isPartial ? { store: { get }, ...options } : options) as HandlerOptions;
    const error = t.throws(() => createHandler(given), { instanceOf: HotblobError, message });
    t.is(error?.code, `ERR_HOTBLOB_INVALID_${code}`);
    t.is(error?.name, 'HotblobError');
  });
}

test("an option that is undefined counts as absent, and the object stays the caller's", (t) => {
  const options: HandlerOptions = Object.freeze({
    store: Object.freeze(memoryStore()),
    mountPath: undefined,
    fallthrough: undefined,
    maxUploadBytes: undefined,
    poolBytes: undefined,
    maxOpenFiles: undefined,
    map: undefined,
    memory: undefined,
    only: undefined,
    bindings: undefined,
  });
  const handler = createHandler(options);
  t.deepEqual(handler.stats().responses, {});
  t.is(handler.stats().openFiles, 0);
  handler.close();
});

test('without bindings nothing is mapped and nothing copied from the page cache', (t) => {
  const handler = createHandler({ store: { get }, bindings: { mmapIo: false, libc: false }, maxUploadBytes: 0 });
  t.like(handler.stats(), { mapper: undefined, copiesResident: false, mappings: 0 });
  handler.close();
});

test('closing twice is closing once', (t) => {
  const handler = createHandler({ store: { get } });
  handler.close();
  t.notThrows(() => handler.close());
});
