import { existsSync } from 'node:fs';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import type { ReadWriteStore } from '../../../src/contract/store.js';
import { createHandler, type ExchangeHandler, type Handler } from '../../../src/handler/handler.js';
import { fixedMemoryPressure } from '../../../src/memory/pressure.js';
import { createServer } from '../../../src/server/server.js';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { memoryStore } from '../../../src/stores/memory.js';
import { segmentStore } from '../../../src/stores/segments/store.js';
import { type Response, request, sessionOf } from '../../helpers/client.js';
import { KINDS, type RunningServer } from '../../helpers/servers.js';
import { resolve, type Version } from './conditions.js';
import type { Outcome, Traits } from './model.js';
import {
  bytesOf,
  digestHeader,
  MAX_UPLOAD_BYTES,
  type Operation,
  type PutOperation,
  rangeHeader,
} from './operations.js';

type WritableStore = ReadWriteStore;

/** Store under test. */
export interface Subject extends Traits {
  /** `true` if the artifacts survive closing and reopening the store. */
  readonly isPersistent: boolean;
  open(directory: string): Promise<WritableStore>;
}

export const SUBJECTS = {
  memory: { isTree: false, isPersistent: false, open: async () => memoryStore() },
  directory: { isTree: true, isPersistent: true, open: (directory) => directoryStore(directory) },
  // Small segments, so that they are filled, sealed and compacted within a run.
  segments: {
    isTree: false,
    isPersistent: true,
    open: async (directory) => (await segmentStore(directory, { segmentBytes: 1_000_000 })) as WritableStore,
  },
} as const satisfies Record<string, Subject>;

/** Server of a store, over HTTP/1.1 and HTTP/2. */
export class FuzzSite {
  readonly subject: Subject;
  readonly #directory: string;
  readonly #clients: readonly RunningServer[];
  readonly #handled: { handler: Handler; store: WritableStore };
  #requestCount = 0;

  static async open(t: ExecutionContext, subject: Subject): Promise<FuzzSite> {
    // In memory if possible: the test is not about the disk.
    const parent = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
    const directory = await realpath(await mkdtemp(join(parent, 'hotblob-fuzz-')));
    t.teardown(() => rm(directory, { recursive: true, force: true }));
    const handled = await opened(subject, directory);
    t.teardown(async () => {
      handled.handler.close();
      await handled.store.close();
    });
    const passing: ExchangeHandler = { handle: (exchange) => handled.handler.handle(exchange) };
    const port = createServer(passing);
    await port.listen({ port: 0, host: '127.0.0.1' });
    t.teardown(() => port.close({ timeoutMs: 0 }));
    const address = { port: (port.address() as AddressInfo).port, certificate: undefined }; // as it listens on a port
    const clients = (['port-http', 'port-h2c'] as const).map((kind) => ({ ...KINDS[kind], kind, ...address }));
    return new FuzzSite(subject, directory, handled, clients);
  }

  private constructor(
    subject: Subject,
    directory: string,
    handled: { handler: Handler; store: WritableStore },
    clients: readonly RunningServer[],
  ) {
    this.subject = subject;
    this.#directory = directory;
    this.#handled = handled;
    this.#clients = clients;
  }

  /** Closes and reopens the store, like a process that restarts. */
  async reopen(): Promise<void> {
    this.#handled.handler.close();
    await this.#handled.store.close();
    Object.assign(this.#handled, await opened(this.subject, this.#directory));
  }

  /** Closes the HTTP/2 session when it is idle. The server and nghttp2 drain a session with many resets. */
  endSession(): void {
    for (const client of this.#clients.filter(({ version }) => version === 2)) sessionOf(client).close();
  }

  /** Returns the bytes in buffers and mappings that are in use. */
  inUse(): { readonly pooledBytes: number; readonly mappedBytes: number } {
    const { pooledBytes, mappedBytes } = this.#handled.handler.stats();
    return { pooledBytes, mappedBytes };
  }

  /** Sends the request of `operation` below `prefix`, over HTTP/1.1 and HTTP/2 alternately. */
  async perform(prefix: string, operation: Operation, current?: Version, earlier?: Version): Promise<Outcome> {
    const { headers } = resolve(operation.conditions, current, earlier);
    const path = `/${prefix}/${operation.key.split('/').map(encodeURIComponent).join('/')}`;
    if (operation.do === 'PUT') return this.#upload(operation, path, headers);
    const isPart = operation.do !== 'DELETE' && operation.range !== undefined;
    return this.#request({
      method: operation.do,
      path,
      headers: isPart ? { ...headers, range: rangeHeader(operation.range) } : headers,
    });
  }

  async #upload(operation: PutOperation, path: string, conditions: Record<string, string>): Promise<Outcome> {
    const bytes = bytesOf(operation);
    const headers = { ...conditions, 'content-type': operation.contentType };
    const put = { method: 'PUT', path };
    switch (operation.upload) {
      case 'with its length':
        return this.#request({ ...put, headers, body: bytes });
      case 'in chunks':
        return this.#request({ ...put, headers, body: chunksOf(bytes) });
      case 'with its digest':
        return this.#request({ ...put, headers: { ...headers, 'content-digest': digestHeader(bytes) }, body: bytes });
      case 'with another digest': {
        const digest = digestHeader(Buffer.concat([bytes, Buffer.of(0)]));
        return this.#request({ ...put, headers: { ...headers, 'content-digest': digest }, body: bytes });
      }
      case 'aborted': {
        const aborting = new AbortController();
        const body = abortAfter(bytes, aborting);
        const requestHeaders = { ...headers, 'content-length': String(bytes.byteLength + 1) };
        return this.#request({ ...put, headers: requestHeaders, body, signal: aborting.signal }).catch(
          (error: unknown) => {
            if (aborting.signal.aborted) return undefined;
            throw error;
          },
        );
      }
    }
  }

  #request(options: Parameters<typeof request>[1]): Promise<Response> {
    const client = this.#clients[this.#requestCount++ % this.#clients.length];
    if (client === undefined) throw new Error('no client');
    return request(client, options);
  }
}

async function opened(subject: Subject, directory: string): Promise<{ handler: Handler; store: WritableStore }> {
  const store = await subject.open(join(directory, 'store'));
  const memory = fixedMemoryPressure('normal');
  return { store, handler: createHandler({ store, memory, maxUploadBytes: MAX_UPLOAD_BYTES }) };
}

async function* chunksOf(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.byteLength; start += 50_000) yield bytes.subarray(start, start + 50_000);
}

async function* abortAfter(bytes: Buffer, aborting: AbortController): AsyncGenerator<Uint8Array> {
  if (bytes.byteLength > 0) yield bytes;
  await setImmediate();
  aborting.abort();
  await new Promise(() => {});
}
