import type { Readable, Writable } from 'node:stream';
import type { PutOptions } from '../../contract/store.js';
import { chunksOf } from '../body.js';
import type { Deadline } from './deadline.js';

/** The body of a request. It can be sent once: nobody keeps its bytes. */
export class Upload {
  readonly size: number | undefined;
  readonly #body: Readable;
  readonly #options: PutOptions;
  #isTouched = false;

  constructor(body: Readable, options: PutOptions) {
    this.#body = body;
    this.#options = options;
    this.size = options.size;
  }

  /** Whether bytes of it may be gone. */
  get isTouched(): boolean {
    return this.#isTouched;
  }

  /**
   * Sends all of it and ends `sink`. The last chunk waits for the body's end: a peer that knows the length would take the
   * upload for whole before whoever gives the body has said that it is. `deadline` runs while the peer takes nothing.
   * Rejects with what the body or the signal says; a sink that fails is its owner's to see, `isOver` says that it has.
   */
  async sendTo(sink: Writable, deadline: Deadline, stallTimeoutMs: number, isOver: () => boolean): Promise<void> {
    this.#isTouched = true;
    let last: Uint8Array | undefined;
    for await (const chunk of chunksOf(this.#body, this.#options, Number.POSITIVE_INFINITY)) {
      if (isOver()) return;
      if (last !== undefined && !sink.write(last) && !isOver()) {
        deadline.set(stallTimeoutMs, 'room for more of the upload');
        await drained(sink);
        deadline.clear();
      }
      last = chunk;
    }
    if (isOver()) return;
    if (last === undefined) sink.end();
    else sink.end(last);
  }
}

function drained(sink: Writable): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      sink.off('drain', settle).off('close', settle);
      resolve();
    };
    sink.on('drain', settle).on('close', settle);
  });
}
