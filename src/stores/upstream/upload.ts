import type { Readable, Writable } from 'node:stream';
import type { PutOptions } from '../../contract/store.js';
import { chunksOf } from '../body.js';
import type { Deadline } from './deadline.js';

/** Body of a PUT request. It can be sent only once, because its bytes are not kept. */
export class Upload {
  readonly size: number | undefined;
  readonly #body: Readable;
  readonly #options: PutOptions;
  #isStarted = false;

  constructor(body: Readable, options: PutOptions) {
    this.#body = body;
    this.#options = options;
    this.size = options.size;
  }

  /** `true` if the body may have been read. It can then not be sent again. */
  get isStarted(): boolean {
    return this.#isStarted;
  }

  /**
   * Sends the body and ends `sink`. The last chunk is sent only after the body has ended. Otherwise, an upstream that
   * knows the length would store the upload even if the body failed at its end. Rejects with the error of the body or
   * the reason of the signal. The caller handles errors of `sink`, and `isSettled` then returns `true`.
   *
   * @param deadline timeout that runs while `sink` accepts no data
   */
  async sendTo(sink: Writable, deadline: Deadline, stallTimeoutMs: number, isSettled: () => boolean): Promise<void> {
    this.#isStarted = true;
    let last: Uint8Array | undefined;
    for await (const chunk of chunksOf(this.#body, this.#options, Number.POSITIVE_INFINITY)) {
      if (isSettled()) return;
      if (last !== undefined && !sink.write(last) && !isSettled()) {
        deadline.set('stallTimeoutMs', stallTimeoutMs, 'progress of the upload');
        await drainOrClose(sink);
        deadline.clear();
      }
      last = chunk;
    }
    if (isSettled()) return;
    if (last === undefined) sink.end();
    else sink.end(last);
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
