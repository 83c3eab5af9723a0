import type { DirectoryGroup } from './groups.js';
import type { ScanResult } from './scan.js';
import type { DirectoryUsage } from './usage.js';

/** Fraction of the limit after whose eviction the directory is scanned again, to find the changes of other programs. */
const RESCAN_AFTER = 0.1;
/** Number of files for whose first scan uploads wait, so that the limit of a small directory holds from the beginning. */
const MAX_FILES_AWAITED = 16_384;

/** Parts of an eviction that a renewal needs. */
export interface RenewalContext {
  readonly maxBytes: number;
  /** Time after which {@link Renewal.startIfOld} scans again. */
  readonly maxAgeMs: number;
  readonly usage: DirectoryUsage;
  readonly groups: readonly DirectoryGroup[];
  /** Scans the directory. Resolves to undefined if the scan was cancelled. */
  scan(onProgress: (artifacts: number) => void): Promise<ScanResult | undefined>;
  /** Called after each scan. */
  onRenewed(): void;
}

/** Renews the usage of a directory and the candidates for eviction by scans in the background, one at a time. */
export class Renewal {
  readonly #context: RenewalContext;
  #scan: Promise<void> | undefined;
  /** Time at which the last scan began, as `performance.now()`. */
  #scannedAt = 0;
  #latestBegan = Number.NEGATIVE_INFINITY;
  /** Bytes that were evicted since the last scan. */
  #evictedBytes = 0;
  /** Whether other programs have changed the directory since the last scan. */
  #isStale = false;
  #onManyFiles = (): void => {};
  /** Resolves when the first scan has found more than {@link MAX_FILES_AWAITED} files. */
  readonly #manyFilesFound = new Promise<void>((resolve) => {
    this.#onManyFiles = resolve;
  });

  constructor(context: RenewalContext) {
    this.#context = context;
  }

  /** Scan in progress. Rejects with its error. */
  get current(): Promise<void> | undefined {
    return this.#scan;
  }

  /** Start of the latest scan that has ended, by `performance.now()`. */
  get latestBegan(): number {
    return this.#latestBegan;
  }

  countEviction(bytes: number): void {
    this.#evictedBytes += bytes;
  }

  /** Records that another program has changed the directory. */
  markStale(): void {
    this.#isStale = true;
  }

  /** Starts a scan in the background. */
  start(): void {
    this.run().catch(() => {}); // an upload that needs the result scans again, and reports the error
  }

  /** Starts a scan if its result is due. Call it when no upload is about to be placed: its result is then more exact. */
  startIfDue(): void {
    const { groups, maxBytes } = this.#context;
    const isLow = groups.some(({ candidates }) => candidates.isLow);
    if (this.#isStale || isLow || this.#evictedBytes > maxBytes * RESCAN_AFTER) this.start();
  }

  /** Starts a scan if files that other programs have added since the last one may have expired. */
  startIfOld(): void {
    if (performance.now() - this.#scannedAt >= this.#context.maxAgeMs) this.start();
  }

  /** Scans the directory, or waits for the scan in progress. */
  run(): Promise<void> {
    this.#scan ??= this.#runOnce().finally(() => {
      this.#scan = undefined;
    });
    return this.#scan;
  }

  /**
   * Resolves when the usage is known. If the directory has many files, resolves before, and the files of uploads can exceed the
   * limit until the first scan has ended.
   *
   * @throws the error of the scan, or the reason of `signal`
   */
  async awaitUsage(signal: AbortSignal | undefined): Promise<void> {
    if (this.#context.usage.totals !== undefined) return;
    const aborted = new Promise((resolve) => signal?.addEventListener('abort', resolve, { once: true }));
    await Promise.race([this.run(), this.#manyFilesFound, aborted]);
    signal?.throwIfAborted();
  }

  async #runOnce(): Promise<void> {
    const { usage, groups, scan, onRenewed } = this.#context;
    this.#scannedAt = performance.now();
    // Also if the scan fails: it is not repeated for each upload.
    this.#evictedBytes = 0;
    this.#isStale = false;
    usage.beginScan();
    for (const group of groups) {
      group.usage.beginScan();
      group.candidates.beginScan();
    }
    const result = await scan((artifacts) => {
      if (artifacts > MAX_FILES_AWAITED) this.#onManyFiles();
    });
    if (result === undefined) return;
    await usage.afterOperations(async () => {
      for (const { group, oldest } of result.groups) await group.candidates.endScan(oldest);
      const isExact = usage.endScan(result.totals);
      for (const { group, bytes } of result.groups) group.usage.endScan({ artifacts: 0, bytes });
      if (!isExact) this.#isStale = true;
    });
    this.#latestBegan = this.#scannedAt;
    onRenewed();
  }
}
