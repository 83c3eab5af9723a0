import type { Readable } from 'node:stream';
import type { UploadMetadata } from './artifact.js';
import type { Download } from './download.js';
import { HotblobError } from './errors.js';
import type { Exchange } from './exchange.js';
import type { Representation } from './http/headers.js';
import type { OpenFiles } from './page-cache/open-files.js';
import { RequestSignal } from './signal.js';
import type { PutResult, Store } from './store.js';

/** What changes artifacts, and what looks at them without sending them. Keys are those of the store. */
export class Artifacts {
  readonly #store: Store;
  readonly #openFiles: OpenFiles;
  readonly #download: Download;

  constructor(store: Store, openFiles: OpenFiles, download: Download) {
    this.#store = store;
    this.#openFiles = openFiles;
    this.#download = download;
  }

  /** What is under `key`, as a client would see it; undefined for a miss. */
  async describe(exchange: Exchange, key: string): Promise<Representation | undefined> {
    const artifact = await this.#store.get(key, new RequestSignal(exchange));
    return artifact && this.#download.describe(artifact);
  }

  /** Keeps `body`, and ends its stream. From then on the upload is what clients get. */
  async put(exchange: Exchange, key: string, body: Readable, what: What): Promise<PutResult> {
    const { signal } = new RequestSignal(exchange);
    try {
      if (this.#store.put === undefined) throw new HotblobError('ERR_HOTBLOB_READ_ONLY', 'the store takes no uploads');
      const result = await this.#store.put(key, body, { signal, ...what });
      // What is open for its key is no longer what the store has.
      this.#expire(await this.#store.get(key, { signal }));
      return result;
    } finally {
      body.destroy();
    }
  }

  /** Deletes what is under `key`. Resolves to whether there was something. */
  async delete(exchange: Exchange, key: string): Promise<boolean> {
    if (this.#store.delete === undefined) throw new HotblobError('ERR_HOTBLOB_READ_ONLY', 'the store deletes nothing');
    const artifact = await this.#store.get(key, new RequestSignal(exchange));
    const isDeleted = await this.#store.delete(key);
    this.#expire(artifact);
    return isDeleted;
  }

  #expire(artifact: Awaited<ReturnType<Store['get']>>): void {
    if (artifact?.kind !== 'file') return;
    // A region of a file that is only appended to is what it was.
    if (artifact.immutable === true && artifact.offset !== undefined) return;
    this.#openFiles.expire(artifact.path);
  }
}

interface What {
  readonly size?: number | undefined;
  readonly metadata?: UploadMetadata | undefined;
}
