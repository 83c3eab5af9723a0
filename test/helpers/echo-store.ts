import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Artifact } from '../../src/contract/artifact.js';
import type { Store } from '../../src/contract/store.js';
import { pattern } from './files.js';

const LAST_MODIFIED = new Date('2024-02-29T12:00:00Z');
/** Artifacts of keys with these prefixes. Every other artifact is its key, with an entity tag and a date. */
const KINDS: Readonly<Record<string, (key: Buffer) => Artifact | undefined>> = {
  missing: () => undefined,
  empty: () => ({ kind: 'bytes', bytes: Buffer.alloc(0), etag: '"tag"', lastModified: LAST_MODIFIED }),
  weak: (bytes) => ({ kind: 'bytes', bytes, etag: 'W/"tag"', lastModified: LAST_MODIFIED }),
  dated: (bytes) => ({ kind: 'bytes', bytes, lastModified: LAST_MODIFIED }),
  bare: (bytes) => ({ kind: 'bytes', bytes }),
  endless: (bytes) => ({ kind: 'stream', open: () => Readable.from([bytes]), etag: '"tag"' }),
  large: () => ({ kind: 'bytes', bytes: LARGE, etag: '"tag"' }),
};
export const LARGE = pattern(3 * 2 ** 20, 1);

/** Returns a store in which each artifact is its own key, so that a client sees which key its request was mapped to. */
export function echoStore(): Store {
  return {
    get(key) {
      const bytes = Buffer.from(key);
      const [kind = ''] = /^[a-z]+/.exec(key) ?? [];
      if (Object.hasOwn(KINDS, kind)) return KINDS[kind]?.(bytes);
      return { kind: 'bytes', bytes, etag: '"tag"', lastModified: LAST_MODIFIED };
    },
    async put(key, body) {
      const chunks = await body.toArray();
      return { created: true, etag: storedTag(key, Buffer.concat(chunks)) };
    },
    delete: async (key) => !key.startsWith('missing'),
  };
}

/** Returns the entity tag of an upload. It depends on the key and on the bytes. */
export function storedTag(key: string, body: Uint8Array): string {
  return `"${createHash('sha256').update(key).update('\0').update(body).digest('hex')}"`;
}
