import type { EvictionCandidates } from './candidates.js';
import type { ScanResult } from './scan.js';
import type { DirectoryUsage } from './usage.js';

/** Fraction of the limit after whose eviction the directory is scanned again, to find the changes of other programs. */
const RESCAN_AFTER = 0.1;
/** Number of files for whose first scan uploads wait, so that the limit of a small directory holds from the beginning. */
const MAX_FILES_AWAITED = 16_384;

/** Parts of an eviction that a renewal needs. */
export interface RenewalContext {
  readonly maxBytes: number;
  readonly usage: DirectoryUsage;
  readonly candidates: EvictionCandidates;
  /** Scans the directory. Resolves to undefined if the scan was cancelled. */
  scan(onProgress: (artifacts: number) => void): Promise<ScanResult | undefined>;
  /** Called after each scan. */
  onRenewed(): void;
}

/** Renews the usage of a directory and the candidates for eviction by scans in the background, one at a time. */
export class Renewal {
  readonly #context: RenewalContext;
  #scan: Promise<void> | undefined;
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
    const { candidates, maxBytes } = this.#context;
    if (this.#isStale || candidates.isLow || this.#evictedBytes > maxBytes * RESCAN_AFTER) this.start();
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
    const { usage, candidates, scan, onRenewed } = this.#context;
    // Also if the scan fails: it is not repeated for each upload.
    this.#evictedBytes = 0;
    this.#isStale = false;
    usage.beginScan();
    candidates.beginScan();
    const result = await scan((artifacts) => {
      if (artifacts > MAX_FILES_AWAITED) this.#onManyFiles();
    });
    if (result === undefined) return;
    await usage.afterOperations(async () => {
      await candidates.endScan(result.oldest);
      const isExact = usage.endScan(result.totals);
      if (!isExact) this.#isStale = true;
    });
    onRenewed();
  }
}
