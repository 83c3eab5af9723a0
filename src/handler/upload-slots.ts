import { HotblobError } from '../contract/errors.js';
import type { Exchange } from '../contract/exchange.js';
import type { OpenFiles } from '../page-cache/open-files.js';

/** Time for which an upload waits for a slot. */
const MAX_WAIT_MS = 5000;

interface Waiter {
  readonly connection: object;
  readonly admit: () => void;
}

/**
 * Limits the number of uploads that a store processes at once, each of which counts as one open descriptor. Half of the
 * descriptors remain for downloads. A connection gets no further slot while it has as many as are free.
 */
export class UploadSlots {
  readonly #openFiles: OpenFiles;
  readonly #max: number;
  readonly #held = new Map<object, number>();
  readonly #waiting = new Set<Waiter>();
  #used = 0;

  constructor(openFiles: OpenFiles, maxOpenFiles: number) {
    this.#openFiles = openFiles;
    this.#max = Math.max(1, Math.floor(maxOpenFiles / 2));
  }

  /**
   * Runs `upload` with a slot.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if no slot becomes free within five seconds
   */
  async run<T>(exchange: Exchange, upload: () => Promise<T>): Promise<T> {
    const { connection } = exchange;
    if (this.#hasSlot(connection)) this.#take(connection);
    else await this.#wait(exchange);
    try {
      await this.#openFiles.reserve();
      try {
        return await upload();
      } finally {
        this.#openFiles.unreserve();
      }
    } finally {
      this.#release(connection);
    }
  }

  #hasSlot(connection: object): boolean {
    return (this.#held.get(connection) ?? 0) < this.#max - this.#used;
  }

  #take(connection: object): void {
    this.#used++;
    this.#held.set(connection, (this.#held.get(connection) ?? 0) + 1);
  }

  #release(connection: object): void {
    this.#used--;
    const held = (this.#held.get(connection) ?? 0) - 1;
    if (held > 0) this.#held.set(connection, held);
    else this.#held.delete(connection);
    for (const waiter of this.#waiting) if (this.#hasSlot(waiter.connection)) waiter.admit();
  }

  #wait(exchange: Exchange): Promise<void> {
    const { connection } = exchange;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        offClose();
        this.#waiting.delete(waiter);
      };
      const fail = (): void => {
        end();
        const message = `no slot for an upload within ${MAX_WAIT_MS} ms: ${this.#used} of ${this.#max} are in use, ${this.#held.get(connection) ?? 0} of them by this connection (half of maxOpenFiles)`;
        reject(new HotblobError('ERR_HOTBLOB_OVERLOADED', message));
      };
      const admit = (): void => {
        end();
        this.#take(connection);
        resolve();
      };
      const waiter: Waiter = { connection, admit };
      this.#waiting.add(waiter);
      const timer = setTimeout(fail, MAX_WAIT_MS);
      const offClose = exchange.onClose(fail);
    });
  }
}
