import type { RootDatabase } from 'lmdb';

/**
 * Snapshot of an index that another process changes. LMDB for Node keeps a snapshot for a millisecond or longer. An upload that is
 * acknowledged in that time would be a miss, so the snapshot ends with the callback of the event loop in which it was taken.
 */
export class ReadSnapshot {
  readonly #root: Pick<RootDatabase<Buffer, Uint8Array>, 'resetReadTxn'>;
  #isScheduled = false;

  constructor(root: Pick<RootDatabase<Buffer, Uint8Array>, 'resetReadTxn'>) {
    this.#root = root;
  }

  /** Announces a read. */
  use(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    process.nextTick(() => {
      this.#isScheduled = false;
      this.#root.resetReadTxn();
    });
  }
}
