import { once } from 'node:events';
import { Readable } from 'node:stream';
import type { Artifact, StreamArtifact } from '../../src/contract/artifact.js';
import type { Store } from '../../src/contract/store.js';

type LookupResult = ReturnType<Store['get']>;
type Put = NonNullable<Store['put']>;

const BYTES = Buffer.alloc(300_000, 'odd');

/** Faulty implementations of `get`, by the part of the key after `odd/`. */
const LOOKUPS: Readonly<Record<string, (signal: AbortSignal) => LookupResult>> = {
  'never settles': () => new Promise<undefined>(() => {}),
  throws: () => {
    throw new Error('the store has thrown');
  },
  rejects: async () => {
    throw new Error('the store has rejected');
  },
  'rejects with undefined': () => Promise.reject(),
  'resolves after the client has disconnected': async (signal) => {
    await once(signal, 'abort');
    return { kind: 'bytes', bytes: BYTES };
  },
  'returns a number': () => 7 as unknown as Artifact,
  'returns a path that is not a string': () => ({ kind: 'file', path: 7 }) as unknown as Artifact,
  'returns a region past the end of the file': () => ({
    kind: 'file',
    path: '/proc/self/exe',
    offset: 1e12,
    length: 5,
  }),
  'returns a stream that fails at once': () => streaming(BYTES.byteLength, failingAfter(0)),
  'returns a stream that fails midway': () => streaming(BYTES.byteLength, failingAfter(100_000)),
  'returns a stream that ends early': () => streaming(BYTES.byteLength, () => Readable.from([BYTES.subarray(0, 9)])),
  'returns a stream that is too long': () => streaming(9, () => Readable.from([BYTES])),
  'returns a stream that never emits data': () => streaming(BYTES.byteLength, () => new Readable({ read() {} })),
  'returns a stream of objects': () => streaming(9, () => Readable.from([{ odd: true }])),
  'returns a string instead of a stream': () => streaming(9, () => 'odd' as unknown as Readable),
};

/** Faulty implementations of `put`, likewise. */
const UPLOADS: Readonly<Record<string, Put>> = {
  'never settles': () => new Promise(() => {}),
  throws: () => {
    throw new Error('the store has thrown');
  },
  'rejects after the first chunk': async (_key, body) => {
    for await (const _chunk of body) throw new Error('the store has rejected');
    return { created: true };
  },
  'resolves without reading the body': async () => ({ created: true }),
  'resolves to undefined': (async (_key: string, body: Readable) => {
    await body.toArray();
  }) as unknown as Put,
};

export const ODD_LOOKUPS = Object.keys(LOOKUPS);
export const ODD_UPLOADS = Object.keys(UPLOADS);

/** Returns a store with the faulty behaviour for keys below `odd/`, and the behaviour of `store` for others. */
export function oddStore(store: Store): Store {
  return {
    get(key, options) {
      const lookup = key.startsWith('odd/') ? LOOKUPS[key.slice(4)] : undefined;
      return lookup === undefined ? store.get(key, options) : lookup(options.signal);
    },
    put(key, body, options) {
      const upload = UPLOADS[key.slice(4)];
      if (upload === undefined) throw new Error(`key: expected one of the faulty uploads, received ${key}`);
      return upload(key, body, options);
    },
  };
}

function streaming(size: number, open: () => Readable): StreamArtifact {
  return { kind: 'stream', size, open };
}

function failingAfter(bytes: number): () => Readable {
  return () =>
    Readable.from(
      (async function* () {
        if (bytes > 0) yield BYTES.subarray(0, bytes);
        throw new Error('the stream has failed');
      })(),
    );
}
