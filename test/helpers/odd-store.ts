import { once } from 'node:events';
import { Readable } from 'node:stream';
import type { Artifact, StreamArtifact } from '../../src/contract/artifact.js';
import type { Store } from '../../src/contract/store.js';

type Found = ReturnType<Store['get']>;
type Put = NonNullable<Store['put']>;

const BYTES = Buffer.alloc(300_000, 'odd');

/** What a store of somebody else's may do instead of answering, by the last part of the key. */
const LOOKUPS: Readonly<Record<string, (signal: AbortSignal) => Found>> = {
  hangs: () => new Promise<undefined>(() => {}),
  throws: () => {
    throw new Error('the store has thrown');
  },
  rejects: async () => {
    throw new Error('the store has rejected');
  },
  'rejects with nothing': () => Promise.reject(),
  'answers too late': async (signal) => {
    await once(signal, 'abort');
    return { kind: 'bytes', bytes: BYTES };
  },
  'hands back a number': () => 7 as unknown as Artifact,
  'hands back a path that is none': () => ({ kind: 'file', path: 7 }) as unknown as Artifact,
  'hands back a region behind the end': () => ({ kind: 'file', path: '/proc/self/exe', offset: 1e12, length: 5 }),
  'hands back a stream that fails at once': () => streaming(BYTES.byteLength, failingAfter(0)),
  'hands back a stream that fails in the midst': () => streaming(BYTES.byteLength, failingAfter(100_000)),
  'hands back a stream that ends early': () => streaming(BYTES.byteLength, () => Readable.from([BYTES.subarray(0, 9)])),
  'hands back a stream that goes on': () => streaming(9, () => Readable.from([BYTES])),
  'hands back a stream that stands still': () => streaming(BYTES.byteLength, () => new Readable({ read() {} })),
  'hands back a stream of objects': () => streaming(9, () => Readable.from([{ odd: true }])),
  'hands back no stream': () => streaming(9, () => 'odd' as unknown as Readable),
};

/** Likewise instead of storing. */
const UPLOADS: Readonly<Record<string, Put>> = {
  hangs: () => new Promise(() => {}),
  throws: () => {
    throw new Error('the store has thrown');
  },
  'rejects when it has read half': async (_key, body) => {
    for await (const _chunk of body) throw new Error('the store has rejected');
    return { created: true };
  },
  'acknowledges without reading': async () => ({ created: true }),
  'resolves to nothing': (async (_key: string, body: Readable) => {
    await body.toArray();
  }) as unknown as Put,
};

export const ODD_LOOKUPS = Object.keys(LOOKUPS);
export const ODD_UPLOADS = Object.keys(UPLOADS);

/** A store that does what `odd/<what>` says, and what `store` does for every other key. */
export function oddStore(store: Store): Store {
  return {
    get(key, options) {
      const lookup = key.startsWith('odd/') ? LOOKUPS[key.slice(4)] : undefined;
      return lookup === undefined ? store.get(key, options) : lookup(options.signal);
    },
    put(key, body, options) {
      const upload = UPLOADS[key.slice(4)];
      if (upload === undefined) throw new Error(`nothing odd is called ${key}`);
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
