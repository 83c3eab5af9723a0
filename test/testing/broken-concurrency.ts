import type { Readable } from 'node:stream';
import { HotblobError } from '../../src/contract/errors.js';
import type { PutOptions, PutResult } from '../../src/contract/store.js';
import { type BrokenStore, PlainStore } from './plain-stores.js';

/** Stores that break concurrent uploads. */
export const brokenConcurrency: Readonly<Record<string, BrokenStore>> = {
  'mixes uploads to one key': {
    fails: ['after concurrent uploads to one key, the artifact is one of them as a whole'],
    create: () =>
      new (class extends PlainStore {
        readonly #chunks = new Map<string, Buffer[]>();
        protected override async receive(body: Readable, options: PutOptions, key: string): Promise<Buffer> {
          const chunks = this.#chunks.get(key) ?? [];
          this.#chunks.set(key, chunks);
          body.on('data', (chunk: Buffer) => chunks.push(chunk));
          await super.receive(body, options, key).finally(() => this.#chunks.delete(key));
          return Buffer.concat(chunks);
        }
      })(),
  },
  'rejects a second upload to a key': {
    fails: ['after concurrent uploads to one key, the artifact is one of them as a whole'],
    create: () =>
      new (class extends PlainStore {
        readonly #busy = new Set<string>();
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          if (this.#busy.has(key)) throw new HotblobError('ERR_HOTBLOB_OVERLOADED', 'another upload is in flight');
          this.#busy.add(key);
          return super.put(key, body, options).finally(() => this.#busy.delete(key));
        }
      })(),
  },
  'stores an upload under the key of the upload that started last': {
    fails: ['concurrent uploads to many keys do not mix'],
    create: () =>
      new (class extends PlainStore {
        #last = '';
        protected override async receive(body: Readable, options: PutOptions, key: string): Promise<Buffer> {
          this.#last = key;
          return super.receive(body, options, key);
        }
        protected override keep(_key: string, bytes: Buffer): void {
          super.keep(this.#last, bytes);
        }
      })(),
  },
  'ignores ifAbsent': {
    options: { capabilities: { ifAbsent: true } },
    fails: [
      'an upload with ifAbsent is rejected if the key has an artifact, and leaves nothing',
      'of overlapping uploads with ifAbsent, exactly one is stored',
    ],
    create: () =>
      new (class extends PlainStore {
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          return super.put(key, body, { ...options, ifAbsent: false });
        }
      })(),
  },
  'checks ifAbsent before the body arrives': {
    options: { capabilities: { ifAbsent: true } },
    fails: ['of overlapping uploads with ifAbsent, exactly one is stored'],
    create: () =>
      new (class extends PlainStore {
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          if (options.ifAbsent && this.artifacts.has(key)) throw new HotblobError('ERR_HOTBLOB_EXISTS', 'exists');
          return super.put(key, body, { ...options, ifAbsent: false });
        }
      })(),
  },
  'rejects ifAbsent': {
    options: { capabilities: { ifAbsent: true } },
    fails: [
      'an upload with ifAbsent is stored if the key has no artifact',
      'of overlapping uploads with ifAbsent, exactly one is stored',
    ],
    create: () =>
      new (class extends PlainStore {
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          if (options.ifAbsent) throw new HotblobError('ERR_HOTBLOB_EXISTS', 'not supported');
          return super.put(key, body, options);
        }
      })(),
  },
  'stores half of the last of several concurrent uploads': {
    fails: ['after concurrent uploads to one key, the artifact is one of them as a whole'],
    create: () =>
      new (class extends PlainStore {
        #running = 0;
        #peak = 0;
        override async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
          this.#peak = Math.max(this.#peak, ++this.#running);
          return super.put(key, body, options).finally(() => this.#running--);
        }
        protected override keep(key: string, bytes: Buffer): void {
          const isLast = key === 'key' && this.#peak > 1 && this.#running === 1;
          super.keep(key, isLast ? bytes.subarray(0, bytes.byteLength / 2) : bytes);
        }
      })(),
  },
};
