import type { Readable } from 'node:stream';
import { errnoCode } from '../../src/contract/errors.js';
import type { PutOptions, PutResult } from '../../src/contract/store.js';
import { never } from '../stores/fixture.js';
import { type BrokenStore, etagOf, PlainFileStore, PlainStore, turn } from './plain-stores.js';

/** For those of whom something never ends. */
const SHORT = { timeoutMs: 3000 };
const isCutOff = (error: unknown): boolean => errnoCode(error) === 'ERR_STREAM_PREMATURE_CLOSE';

/** In the middle, and not because the client has left or the length is wrong. */
function hasFailed(error: unknown, { byteLength }: Buffer, { signal, size }: PutOptions): boolean {
  return !isCutOff(error) && byteLength > 0 && size === undefined && !signal.aborted;
}

/** A store that does something else with what has come of an upload when it fails. */
const failing =
  (otherwise: (error: unknown, received: Buffer, options: PutOptions, isFree: boolean) => boolean) => () =>
    new (class extends PlainStore {
      override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
        const received: Buffer[] = [];
        body.on('data', (chunk: Buffer) => received.push(chunk));
        try {
          return await super.put(key, body, options);
        } catch (error) {
          const bytes = Buffer.concat(received);
          if (otherwise(error, bytes, options, !this.artifacts.has(key))) this.keep(key, bytes);
          throw error;
        }
      }
    })();

/** A store that shows what has come of an upload, to keys of one kind. */
const showing = (applies: (isFree: boolean) => boolean) => () =>
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

/** Uploads, and what they say. */
export const brokenUploads: Readonly<Record<string, BrokenStore>> = {
  'loses the last byte of an upload of unknown length': {
    fails: ['an upload of unknown length is read back, whole'],
    create: () =>
      new (class extends PlainStore {
        protected override async receive(body: Readable, options: PutOptions, key: string): Promise<Buffer> {
          const bytes = await super.receive(body, options, key);
          return options.size === undefined ? bytes.subarray(0, -1) : bytes;
        }
      })(),
  },
  'keeps the end of what was longer': {
    fails: [
      'an upload replaces what was there, whether it is longer or shorter',
      'a read in flight is not touched by an overwrite',
    ],
    create: () =>
      new (class extends PlainStore {
        protected override keep(key: string, bytes: Buffer): void {
          // Not of 200,000: checks of other things overwrite those.
          const old = bytes.byteLength < 20_000 ? this.artifacts.get(key) : undefined;
          super.keep(key, Buffer.concat([bytes, (old ?? bytes).subarray(bytes.byteLength)]));
        }
      })(),
  },
  'says another entity tag than it has': {
    fails: ['the entity tag of an upload is that of its artifact'],
    create: () =>
      new (class extends PlainStore {
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          return { ...(await super.put(key, body, options)), etag: etagOf(Buffer.from(key)) };
        }
      })(),
  },
  'takes every key for free': {
    fails: ['an upload says whether its key was free'],
    create: () =>
      new (class extends PlainStore {
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          return { ...(await super.put(key, body, options)), created: true };
        }
      })(),
  },
  'takes a deleted key for taken': {
    fails: ['a deleted key is free again'],
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
  'shows an upload before it is complete': {
    fails: [
      'until an upload is complete there is nothing',
      'of uploads to one key at a time one is there in the end, whole',
    ],
    create: showing((isFree) => isFree),
  },
  'shows an upload before it is complete where there was something': {
    fails: ['until an upload is complete there is what was there before'],
    create: showing((isFree) => !isFree),
  },
  'keeps what has come of an upload that failed, where there was nothing': {
    fails: ['an upload that fails leaves nothing'],
    create: failing((error, received, options, isFree) => hasFailed(error, received, options) && isFree),
  },
  'keeps what has come of an upload that failed, in place of what was there': {
    fails: ['an upload that fails leaves nothing'],
    create: failing((error, received, options, isFree) => hasFailed(error, received, options) && !isFree),
  },
  'keeps something empty of an upload that failed at once': {
    fails: ['an upload that fails before its first byte leaves nothing'],
    create: failing((_error, { byteLength }, { signal }) => byteLength === 0 && !signal.aborted),
  },
  'keeps what has come of an upload that was cut off': {
    fails: ['an upload that is cut off without an error leaves nothing'],
    create: failing((error) => isCutOff(error)),
  },
  'keeps an upload that is too short': {
    fails: ['an upload that is shorter than announced leaves nothing'],
    create: failing((_error, { byteLength }, { size = 0 }) => byteLength > 0 && byteLength < size),
  },
  'keeps an upload that is too long': {
    fails: ['an upload that is longer than announced leaves nothing'],
    create: failing((_error, { byteLength }, { size = Number.POSITIVE_INFINITY }) => byteLength > size),
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
  'hides what an upload has failed with': {
    fails: ['the code of what fails an upload comes through, because it tells the status'],
    create: () =>
      new (class extends PlainStore {
        protected override async receive(body: Readable, options: PutOptions, key: string): Promise<Buffer> {
          return super.receive(body, options, key).catch((cause) => {
            throw new Error('the upload has failed', { cause });
          });
        }
      })(),
  },
  'leaves its temporary files': {
    fails: [
      'an upload that fails leaves nothing',
      'an upload that fails before its first byte leaves nothing',
      'an upload that is cut off without an error leaves nothing',
      'an upload that is shorter than announced leaves nothing',
      'an upload that is longer than announced leaves nothing',
      'an abort ends an upload that is silent, and leaves nothing',
      'an upload that was aborted stays so, even where its body comes to its end',
      'an upload whose client has left before leaves nothing',
    ],
    create: (directory) =>
      new (class extends PlainFileStore {
        protected override async clean(): Promise<void> {}
      })(directory),
  },
};

/** Uploads whose client leaves. */
export const brokenAborts: Readonly<Record<string, BrokenStore>> = {
  'does not notice that the client of a silent upload has left': {
    fails: ['an abort ends an upload that is silent, and leaves nothing'],
    create: () =>
      new (class extends PlainStore {
        protected override async receive(body: Readable, options: PutOptions, key: string): Promise<Buffer> {
          options.signal.throwIfAborted();
          const bytes = await super.receive(body, { ...options, signal: never() }, key);
          options.signal.throwIfAborted();
          return bytes;
        }
      })(),
    options: SHORT,
  },
  'keeps what has come of an upload whose client has left': {
    fails: [
      'an abort ends an upload that is silent, and leaves nothing',
      'an upload that was aborted stays so, even where its body comes to its end',
      'an abort while an upload is being completed leaves all of it or nothing',
    ],
    create: failing((_error, { byteLength }, { signal }) => byteLength > 0 && signal.aborted),
  },
  'completes in the background what was aborted': {
    fails: [
      'an upload that was aborted stays so, even where its body comes to its end',
      'an abort while an upload is being completed leaves all of it or nothing',
    ],
    create: () =>
      new (class extends PlainStore {
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          options.signal.throwIfAborted();
          const completed = super.put(key, body, { ...options, signal: never() });
          completed.catch(() => {}); // nobody may be waiting any more
          return new Promise((resolve, reject) => {
            completed.then(resolve, reject);
            options.signal.addEventListener('abort', () => reject(options.signal.reason));
          });
        }
      })(),
  },
  'takes an upload whose client has left before': {
    fails: ['an upload whose client has left before leaves nothing'],
    create: () =>
      new (class extends PlainStore {
        override put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          return super.put(key, body, options.signal.aborted ? { ...options, signal: never() } : options);
        }
      })(),
  },
  'refuses an upload that it keeps': {
    fails: ['an abort while an upload is being completed leaves all of it or nothing'],
    create: () =>
      new (class extends PlainStore {
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          const result = await super.put(key, body, options);
          await turn();
          options.signal.throwIfAborted();
          return result;
        }
      })(),
  },
};
