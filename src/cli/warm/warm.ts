import { errnoCode } from '../../contract/errors.js';
import type { MemoryPressureProvider } from '../../memory/level.js';
import { cachedPages, pageMap } from '../../page-cache/cached-pages.js';
import { openNoatime } from '../../page-cache/open-noatime.js';
import { forEachConcurrently } from '../../util/for-each-concurrently.js';
import type { ArtifactFile, Region } from '../artifact-files.js';

/** Number of files read concurrently: the default number of threads in the thread pool of libuv. */
const READERS = 4;
/** Size of a window, the unit of reading, in bytes. A window is skipped only if all of its pages are resident. */
const WINDOW_BYTES = 1024 * 1024;
/** Size of the file range that one page map covers, in bytes. */
const MAP_BYTES = 1024 * WINDOW_BYTES;

export interface WarmCount {
  artifacts: number;
  bytes: number;
}

/** Result of {@link warm}. */
export interface WarmResult {
  /** Artifacts that were completely in the page cache already. */
  readonly resident: WarmCount;
  /** Number of artifacts that were read to the end, and number of all bytes read. */
  readonly read: WarmCount;
  /** Artifacts that could not be read. */
  readonly failed: WarmCount;
  /** Message of the first error; `null` if no artifact failed. */
  failure: string | null;
  /** Reason for stopping early; `null` if all files were processed. */
  stopped: 'pressure' | 'interrupted' | null;
}

/** Options of {@link warm}. */
export interface WarmOptions {
  /** Warming stops at any level other than `normal`. */
  readonly memory: Pick<MemoryPressureProvider, 'level'>;
  /** Warming stops when this signal is aborted. */
  readonly signal: AbortSignal;
  /** Called after each window with the number of bytes processed so far, resident ones included. */
  onProgress(doneBytes: number): void;
}

/** Selects the most recently used files with a total of at most `maxBytes`, latest first. Skips files that do not fit. */
export function selectMostRecent(files: readonly ArtifactFile[], maxBytes: number): ArtifactFile[] {
  let left = maxBytes;
  return files
    .toSorted((a, b) => b.usedAt - a.usedAt)
    .filter(({ bytes }) => {
      if (bytes > left) return false;
      left -= bytes;
      return true;
    });
}

/**
 * Reads the parts of `files` that are not in the page cache, in order. Files are opened with O_NOATIME where possible, so
 * that warming does not change the eviction order.
 */
export async function warm(files: readonly ArtifactFile[], options: WarmOptions): Promise<WarmResult> {
  const run = new WarmRun(options);
  // Checked even if `files` is empty: under memory pressure there may be no free memory, and therefore no file was
  // selected.
  if (run.shouldStop()) return run.result;
  await forEachConcurrently(files, READERS, (file) => run.add(file));
  return run.result;
}

class WarmRun {
  readonly result: WarmResult = {
    resident: { artifacts: 0, bytes: 0 },
    read: { artifacts: 0, bytes: 0 },
    failed: { artifacts: 0, bytes: 0 },
    failure: null,
    stopped: null,
  };
  readonly #options: WarmOptions;
  readonly #idleBuffers: Buffer[] = [];
  #doneBytes = 0;

  constructor(options: WarmOptions) {
    this.#options = options;
  }

  async add(file: ArtifactFile): Promise<void> {
    if (this.shouldStop()) return;
    try {
      await this.#warmFile(file);
    } catch (error) {
      const code = errnoCode(error);
      if (code === 'ENOENT' || code === 'ENOTDIR') return; // evicted since it was listed
      if (code === undefined) throw error;
      this.result.failed.artifacts++;
      this.result.failed.bytes += file.bytes;
      this.result.failure ??= error instanceof Error ? error.message : code;
    }
  }

  async #warmFile({ bytes, region }: ArtifactFile): Promise<void> {
    const cached = region && bytes > 0 ? await cachedPages(region.path, region.offset, region.length) : undefined;
    if (region === undefined || bytes === 0 || (cached !== undefined && cached.resident === cached.pages)) {
      this.result.resident.artifacts++;
      this.result.resident.bytes += bytes;
      this.#advance(bytes);
    } else if (await this.#read(region, cached?.resident === 0 ? undefined : cached?.pageBytes)) {
      this.result.read.artifacts++;
    }
  }

  /** Reads the windows that are not resident. Resolves to `false` if it stopped early or the file was truncated. */
  async #read(region: Region, pageBytes: number | undefined): Promise<boolean> {
    const file = await openNoatime(region.path);
    const buffer = this.#idleBuffers.pop() ?? Buffer.allocUnsafeSlow(WINDOW_BYTES);
    try {
      for await (const { position, size, isResident } of windowsOf(region, pageBytes)) {
        if (this.shouldStop()) return false;
        if (!isResident) {
          const { bytesRead } = await file.read(buffer, 0, size, position);
          this.result.read.bytes += bytesRead;
          if (bytesRead < size) return false;
        }
        this.#advance(size);
      }
      return true;
    } finally {
      this.#idleBuffers.push(buffer);
      await file.close();
    }
  }

  #advance(bytes: number): void {
    this.#doneBytes += bytes;
    this.#options.onProgress(this.#doneBytes);
  }

  /** Returns whether warming must stop, and records the reason. */
  shouldStop(): boolean {
    const { signal, memory } = this.#options;
    if (signal.aborted) this.result.stopped ??= 'interrupted';
    else if (memory.level !== 'normal') this.result.stopped ??= 'pressure';
    return this.result.stopped !== null;
  }
}

interface Window {
  /** Offset in the file, in bytes. */
  readonly position: number;
  readonly size: number;
  readonly isResident: boolean;
}

/** Splits a region into windows. Without `pageBytes` all windows are treated as not resident. */
async function* windowsOf({ path, offset, length }: Region, pageBytes: number | undefined): AsyncGenerator<Window> {
  for (let at = 0; at < length; at += MAP_BYTES) {
    const start = offset + at;
    const end = offset + Math.min(length, at + MAP_BYTES);
    const map = pageBytes === undefined ? undefined : await pageMap(path, start, end - start);
    const isResident = (position: number, size: number): boolean =>
      map !== undefined &&
      pageBytes !== undefined &&
      isRangeResident(map, pageBytes, position - start + (start % pageBytes), size);
    for (let position = start; position < end; position += WINDOW_BYTES) {
      const size = Math.min(WINDOW_BYTES, end - position);
      yield { position, size, isResident: isResident(position, size) };
    }
  }
}

/** Returns whether `size` bytes are resident. `offset` is relative to the first page of the map. */
function isRangeResident(map: Uint8Array, pageBytes: number, offset: number, size: number): boolean {
  return !map.subarray(Math.floor(offset / pageBytes), Math.ceil((offset + size) / pageBytes)).includes(0);
}
