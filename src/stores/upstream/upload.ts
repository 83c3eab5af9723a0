import type { Readable, Writable } from 'node:stream';
import type { PutOptions } from '../../contract/store.js';
import { chunksOf, discard } from '../body.js';
import type { Deadline } from './deadline.js';

/** Number of bytes of the beginning of a body that are kept, so that they can be sent again. */
const KEPT_BYTES = 64 * 1024;

/** Body of a PUT request. Only its beginning is kept. As long as no more has been read, the body can be sent again. */
export class Upload {
  readonly size: number | undefined;
  readonly #body: Readable;
  readonly #chunks: AsyncGenerator<Uint8Array>;
  /** Read of the next chunk whose result no attempt has taken yet. */
  #next: Promise<IteratorResult<Uint8Array, void>> | undefined;
  /** All chunks that have been read; undefined if they were too many bytes. */
  #kept: Uint8Array[] | undefined = [];
  #keptBytes = 0;

  constructor(body: Readable, options: PutOptions) {
    this.#body = body;
    this.#chunks = chunksOf(body, options, Number.POSITIVE_INFINITY);
    this.size = options.size;
  }

  /** `true` if the body can be sent from its beginning. */
  get isRepeatable(): boolean {
    return this.#kept !== undefined;
  }

  /**
   * Sends the body and ends `sink`. The last chunk is sent only after the body has ended. Otherwise, an upstream that
   * knows the length would store the upload even if the body failed at its end. Rejects with the error of the body or
   * the reason of the signal. The caller handles errors of `sink`, and `isSettled` then returns `true`.
   *
   * @param deadline timeout that runs while `sink` accepts no data
   */
  async sendTo(sink: Writable, deadline: Deadline, stallTimeoutMs: number, isSettled: () => boolean): Promise<void> {
    let last: Uint8Array | undefined;
    for (let index = 0; ; index++) {
      const chunk = this.#kept?.[index] ?? (await this.#read(isSettled));
      if (isSettled()) return;
      if (chunk === undefined) break;
      if (last !== undefined && !sink.write(last) && !isSettled()) {
        deadline.set('stallTimeoutMs', stallTimeoutMs, 'progress of the upload');
        await drainOrClose(sink);
        deadline.clear();
      }
      last = chunk;
    }
    if (last === undefined) sink.end();
    else sink.end(last);
  }

  /** Destroys a body whose rest is not needed. */
  discard(): void {
    discard(this.#body);
    this.#chunks.return(undefined).catch(() => {}); // the error of the body, which the caller has already received
  }

  /** Resolves to the next chunk, or to undefined at the end. If the request is over, the next attempt gets the chunk. */
  async #read(isSettled: () => boolean): Promise<Uint8Array | undefined> {
    this.#next ??= this.#chunks.next();
    const { done, value } = await this.#next;
    if (isSettled()) return undefined;
    this.#next = undefined;
    if (done) return undefined;
    this.#keptBytes += value.byteLength;
    if (this.#keptBytes > KEPT_BYTES) this.#kept = undefined;
    this.#kept?.push(value);
    return value;
  }
}

function drainOrClose(sink: Writable): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      sink.off('drain', settle).off('close', settle);
      resolve();
    };
    sink.on('drain', settle).on('close', settle);
  });
}
