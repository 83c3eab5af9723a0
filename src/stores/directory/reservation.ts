import { HotblobError } from '../../contract/errors.js';

/** Space that reservations are taken from. */
export interface Account {
  /**
   * Takes space.
   *
   * @param ended resolves when the reservation has been released
   * @throws HotblobError `ERR_HOTBLOB_STORAGE_FULL` if there is no space and nothing can be evicted
   */
  take(bytes: number, ended: Promise<void>): Promise<void>;
  giveBack(bytes: number): void;
  /** Ends of the reservations whose uploads have been received completely. */
  readonly completed: Set<Promise<void>>;
}

/** Space that an upload in flight has taken. It grows while the upload arrives. */
export class Reservation {
  readonly #account: Account;
  #bytes = 0;
  #end: (() => void) | undefined;
  #onReleased = (): void => {};
  readonly #released = new Promise<void>((resolve) => {
    this.#onReleased = resolve;
  });

  constructor(account: Account) {
    this.#account = account;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes `bytes` more. See {@link Account.take}. */
  async grow(bytes: number): Promise<void> {
    await this.#account.take(bytes, this.#released);
    this.#bytes += bytes;
  }

  /** Gives back a part of the space, which is counted as used from now on. */
  shrink(bytes: number): void {
    const part = Math.min(bytes, this.#bytes);
    this.#account.giveBack(part);
    this.#bytes -= part;
  }

  /** Announces that the upload has been received completely, so that others may wait until it can be evicted. */
  complete(): void {
    if (this.#end !== undefined) return;
    const { completed } = this.#account;
    const end = new Promise<void>((resolve) => {
      this.#end = () => {
        completed.delete(end);
        resolve();
      };
    });
    completed.add(end);
  }

  /** Gives the space back. Further calls do nothing. */
  release(): void {
    this.#account.giveBack(this.#bytes);
    this.#bytes = 0;
    this.#onReleased();
    this.#end?.();
  }
}

/**
 * Returns the error for an upload for which there is no space.
 *
 * @param reserved bytes of uploads in flight
 * @param used bytes of files
 * @param limit whose limit it is, if not that of the store
 */
export function fullError(
  root: string,
  maxBytes: number,
  reserved: number,
  used: number,
  limit: '' | 'of a rule of retain' = '',
): HotblobError {
  const message =
    `maxBytes${limit && ` ${limit}`}: no space for an upload: of ${maxBytes} bytes, uploads in flight take ${reserved}, and files that ` +
    `this process may not delete ${used} in '${root}'; retry when fewer uploads are in flight, ` +
    'correct the permissions of the files, or raise maxBytes';
  return new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message);
}
