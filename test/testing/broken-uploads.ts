import type { Readable } from 'node:stream';
import { errnoCode } from '../../src/contract/errors.js';
import type { PutOptions, PutResult } from '../../src/contract/store.js';
import { never } from '../stores/fixture.js';
import { type BrokenStore, etagOf, nextTurn, PlainFileStore, PlainStore } from './plain-stores.js';

/** For stores with an operation that never settles. */
const SHORT_TIMEOUT = { timeoutMs: 3000 };
const isDestroyed = (error: unknown): boolean => errnoCode(error) === 'ERR_STREAM_PREMATURE_CLOSE';

/** Whether the body failed in the middle, with an error, without an abort and without an announced length. */
function hasFailed(error: unknown, { byteLength }: Buffer, { signal, size }: PutOptions): boolean {
  return !isDestroyed(error) && byteLength > 0 && size === undefined && !signal.aborted;
}

/** Creates a store that keeps the received bytes of a failed upload if `keeps` returns true. */
const keepingFailed =
  (keeps: (error: unknown, received: Buffer, options: PutOptions, isNew: boolean) => boolean) => () =>
    new (class extends PlainStore {
      override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
        const received: Buffer[] = [];
        body.on('data', (chunk: Buffer) => received.push(chunk));
        try {
          return await super.put(key, body, options);
        } catch (error) {
          const bytes = Buffer.concat(received);
          if (keeps(error, bytes, options, !this.artifacts.has(key))) this.keep(key, bytes);
          throw error;
        }
      }
    })();

/** Creates a store whose uploads in flight are visible, for new or for existing keys. */
const exposing = (applies: (isNew: boolean) => boolean) => () =>
  new (class extends PlainStore {
    override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
      const before = this.artifacts.get(key);
      if (!applies(before === undefined)) return super.put(key, body, options);
      const received: Buffer[] = [];
      body.on('data', (chunk: Buffer) => {
        received.push(chunk);
        this.keep(key, Buffer.concat(received));
      });
      try {
        return { ...(await super.put(key, body, options)), created: before === undefined };
      } catch (error) {
        if (before === undefined) this.artifacts.delete(key);
        else this.keep(key, before);
        throw error;
      }
    }
  })();

/** Stores that break uploads. */
export const brokenUploads: Readonly<Record<string, BrokenStore>> = {
  'loses the last byte of an upload of unknown length': {
    fails: ['an upload of unknown length is stored as a whole'],
    create: () =>
      new (class extends PlainStore {
        protected override async receive(body: Readable, options: PutOptions, key: string): Promise<Buffer> {
          const bytes = await super.receive(body, options, key);
          return options.size === undefined ? bytes.subarray(0, -1) : bytes;
        }
      })(),
  },
  'commits an upload at its last announced byte, before the body has ended': {
    fails: ['an upload that fails after its last announced byte leaves nothing'],
    create: () =>
      new (class extends PlainStore {
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          const received: Buffer[] = [];
          body.on('data', (chunk: Buffer) => received.push(chunk));
          try {
            return await super.put(key, body, options);
          } catch (error) {
            const bytes = Buffer.concat(received);
            if (errnoCode(error) === 'ERR_HOTBLOB_DIGEST' && bytes.byteLength === options.size) this.keep(key, bytes);
            throw error;
          }
        }
      })(),
  },
  'keeps the end of a longer artifact after an overwrite': {
    fails: ['an upload replaces a longer or shorter artifact', 'an overwrite does not affect a read in flight'],
    create: () =>
      new (class extends PlainStore {
        protected override keep(key: string, bytes: Buffer): void {
          // Only small uploads: other checks overwrite artifacts of 200,000 bytes.
          const old = bytes.byteLength < 20_000 ? this.artifacts.get(key) : undefined;
          super.keep(key, Buffer.concat([bytes, (old ?? bytes).subarray(bytes.byteLength)]));
        }
      })(),
  },
  'returns a wrong entity tag from put()': {
    fails: ['put() and get() return the same entity tag'],
    create: () =>
      new (class extends PlainStore {
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          return { ...(await super.put(key, body, options)), etag: etagOf(Buffer.from(key)) };
        }
      })(),
  },
  'reports every key as new': {
    fails: ['put() reports whether the key is new'],
    create: () =>
      new (class extends PlainStore {
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          return { ...(await super.put(key, body, options)), created: true };
        }
      })(),
  },
  'reports a deleted key as existing': {
    fails: ['put() reports a deleted key as new'],
    create: () =>
      new (class extends PlainStore {
        readonly #seen = new Set<string>();
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          const created = !this.#seen.has(key);
          const result = await super.put(key, body, options);
          this.#seen.add(key);
          return { ...result, created };
        }
      })(),
  },
  'exposes an incomplete upload of a new key': {
    fails: [
      'an incomplete upload of a new key is not visible',
      'after concurrent uploads to one key, the artifact is one of them as a whole',
    ],
    create: exposing((isNew) => isNew),
  },
  'exposes an incomplete upload of an existing key': {
    fails: ['an incomplete upload does not hide the previous artifact'],
    create: exposing((isNew) => !isNew),
  },
  'keeps a failed upload of a new key': {
    fails: ['an upload that fails leaves nothing'],
    create: keepingFailed((error, received, options, isNew) => hasFailed(error, received, options) && isNew),
  },
  'keeps a failed upload of an existing key': {
    fails: ['an upload that fails leaves nothing'],
    create: keepingFailed((error, received, options, isNew) => hasFailed(error, received, options) && !isNew),
  },
  'keeps an empty artifact of an upload that failed at once': {
    fails: ['an upload that fails before its first byte leaves nothing'],
    create: keepingFailed((_error, { byteLength }, { signal }) => byteLength === 0 && !signal.aborted),
  },
  'keeps an upload whose body was destroyed': {
    fails: ['an upload that is destroyed without an error leaves nothing'],
    create: keepingFailed((error) => isDestroyed(error)),
  },
  'keeps an upload that is too short': {
    fails: ['an upload that is shorter than announced leaves nothing'],
    create: keepingFailed((_error, { byteLength }, { size = 0 }) => byteLength > 0 && byteLength < size),
  },
  'keeps an upload that is too long': {
    fails: ['an upload that is longer than announced leaves nothing'],
    create: keepingFailed((_error, { byteLength }, { size = Number.POSITIVE_INFINITY }) => byteLength > size),
  },
  'accepts an upload that is too short': {
    fails: ['an upload that is shorter than announced leaves nothing'],
    create: () =>
      new (class extends PlainStore {
        override async put(key: string, body: Readable, { signal, size }: PutOptions): Promise<PutResult> {
          const bytes = await this.receive(body, { signal }, key);
          if (size !== undefined && bytes.byteLength > size) throw new Error('too long');
          const created = !this.artifacts.has(key);
          this.keep(key, bytes);
          return { created };
        }
      })(),
  },
  'wraps the error of a failed body': {
    fails: ['put() rejects with the error code of a failed body'],
    create: () =>
      new (class extends PlainStore {
        protected override async receive(body: Readable, options: PutOptions, key: string): Promise<Buffer> {
          return super.receive(body, options, key).catch((cause) => {
            throw new Error('upload failed', { cause });
          });
        }
      })(),
  },
  'leaves temporary files': {
    fails: [
      'an upload that fails leaves nothing',
      'an upload that fails before its first byte leaves nothing',
      'an upload that fails after its last announced byte leaves nothing',
      'an upload that is destroyed without an error leaves nothing',
      'an upload that is shorter than announced leaves nothing',
      'an upload that is longer than announced leaves nothing',
      'an abort rejects an idle upload and leaves nothing',
      'an aborted upload leaves nothing, even if its body ends',
      'an upload with an aborted signal leaves nothing',
    ],
    create: (directory) =>
      new (class extends PlainFileStore {
        protected override async clean(): Promise<void> {}
      })(directory),
  },
};

/** Stores that break aborted uploads. */
export const brokenAborts: Readonly<Record<string, BrokenStore>> = {
  'ignores an abort while the body is idle': {
    fails: ['an abort rejects an idle upload and leaves nothing'],
    create: () =>
      new (class extends PlainStore {
        protected override async receive(body: Readable, options: PutOptions, key: string): Promise<Buffer> {
          options.signal.throwIfAborted();
          const bytes = await super.receive(body, { ...options, signal: never() }, key);
          options.signal.throwIfAborted();
          return bytes;
        }
      })(),
    options: SHORT_TIMEOUT,
  },
  'keeps an aborted upload': {
    fails: [
      'an abort rejects an idle upload and leaves nothing',
      'an aborted upload leaves nothing, even if its body ends',
      'an abort while an upload completes leaves the whole artifact or nothing',
    ],
    create: keepingFailed((_error, { byteLength }, { signal }) => byteLength > 0 && signal.aborted),
  },
  'completes an aborted upload in the background': {
    fails: [
      'an aborted upload leaves nothing, even if its body ends',
      'an abort while an upload completes leaves the whole artifact or nothing',
    ],
    create: () =>
      new (class extends PlainStore {
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          options.signal.throwIfAborted();
          const completion = super.put(key, body, { ...options, signal: never() });
          completion.catch(() => {}); // the caller may have been rejected already
          return new Promise((resolve, reject) => {
            completion.then(resolve, reject);
            options.signal.addEventListener('abort', () => reject(options.signal.reason));
          });
        }
      })(),
  },
  'ignores a signal that is already aborted': {
    fails: ['an upload with an aborted signal leaves nothing'],
    create: () =>
      new (class extends PlainStore {
        override put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          return super.put(key, body, options.signal.aborted ? { ...options, signal: never() } : options);
        }
      })(),
  },
  'rejects an upload after storing it': {
    fails: ['an abort while an upload completes leaves the whole artifact or nothing'],
    create: () =>
      new (class extends PlainStore {
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          const result = await super.put(key, body, options);
          await nextTurn();
          options.signal.throwIfAborted();
          return result;
        }
      })(),
  },
};
