import type { IndexDatabases } from './index-databases.js';

/** Number of rows that are read at a time. */
const BATCH_ROWS = 1000;
const VALUE_BYTES = 4;

/** Last uses of artifacts in the index, in minutes since 1970. */
export class UseTable {
  /** The databases are replaced when the index is reopened. */
  readonly #databases: () => IndexDatabases;

  constructor(databases: () => IndexDatabases) {
    this.#databases = databases;
  }

  /** Returns the minute of the last use that is stored. */
  get(key: string): number | undefined {
    const value = this.#databases().uses?.get(key);
    return value?.byteLength === VALUE_BYTES ? value.readUInt32LE(0) : undefined;
  }

  set(key: string, minute: number): void {
    const value = Buffer.alloc(VALUE_BYTES);
    value.writeUInt32LE(minute, 0);
    this.#databases().uses?.put(key, value);
  }

  remove(key: string): void {
    this.#databases().uses?.remove(key);
  }

  /** Yields all rows in batches. */
  *entries(): Generator<{ readonly key: string; readonly minute: number }[]> {
    let lastKey: string | undefined;
    for (;;) {
      const range = lastKey === undefined ? {} : { start: lastKey, exclusiveStart: true };
      const batch: { key: string; minute: number }[] = [];
      for (const { key, value } of this.#databases().uses?.getRange({ ...range, limit: BATCH_ROWS }) ?? []) {
        batch.push({ key, minute: value.byteLength === VALUE_BYTES ? value.readUInt32LE(0) : 0 });
      }
      if (batch.length === 0) return;
      lastKey = batch.at(-1)?.key;
      yield batch;
    }
  }

  /** Returns the bytes of the pages of the table. */
  bytes(): number {
    // The types of lmdb declare only `object`.
    const stats = (this.#databases().uses?.getStats() ?? {}) as Readonly<Record<string, number | undefined>>;
    const { pageSize = 0, treeBranchPageCount = 0, treeLeafPageCount = 0, overflowPages = 0 } = stats;
    return pageSize * (treeBranchPageCount + treeLeafPageCount + overflowPages);
  }
}
