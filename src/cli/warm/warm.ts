import { errnoCode } from '../../contract/errors.js';
import type { MemoryPressureProvider } from '../../memory/level.js';
import { cachedPages, pageMap } from '../../page-cache/cached-pages.js';
import { openQuietly } from '../../page-cache/open-quietly.js';
import type { ArtifactFile, Region } from '../artifact-files.js';
import { concurrently } from '../concurrently.js';

/** Files read at a time, which is what the threadpool does. */
const READERS = 4;
/** Read, or left out because it is there, as one, in bytes. */
const WINDOW_BYTES = 1024 * 1024;
/** Told page by page at a time, in bytes of the file. */
const MAP_BYTES = 1024 * WINDOW_BYTES;

/** Artifacts, and what they come to. */
export interface WarmCount {
  artifacts: number;
  /** In bytes. */
  bytes: number;
}

/** What {@link warm} has done. */
export interface WarmResult {
  /** Was in the page cache already. */
  readonly resident: WarmCount;
  /** Was brought there; bytes are those that were read. */
  readonly read: WarmCount;
  /** Could not be read. */
  readonly failed: WarmCount;
  /** Why the first of these could not; null where there are none. */
  failure: string | null;
  /** Why it has ended before all was done: null, memory was getting short, or nobody wanted more. */
  stopped: 'pressure' | 'interrupted' | null;
}

/** What {@link warm} takes. */
export interface WarmOptions {
  /** At any level but `normal` it stops. */
  readonly memory: Pick<MemoryPressureProvider, 'level'>;
  /** Stops it too. */
  readonly signal: AbortSignal;
  /** Called again and again with the bytes of the artifacts that are done, in part too. */
  onProgress(doneBytes: number): void;
}

/**
 * The most recently used of `files` that fit into `maxBytes`, the latest first; those that do not fit are passed over.
 */
export function mostRecent(files: readonly ArtifactFile[], maxBytes: number): ArtifactFile[] {
  let left = maxBytes;
  return files
    .toSorted((a, b) => b.usedAt - a.usedAt)
    .filter(({ bytes }) => {
      if (bytes > left) return false;
      left -= bytes;
      return true;
    });
}

/** Reads what of `files` is not in the page cache, so that it is, in their order. Counts as no use of them. */
export async function warm(files: readonly ArtifactFile[], options: WarmOptions): Promise<WarmResult> {
  const warming = new Warming(options);
  // Also where there is nothing to do: memory may be so short that nothing was chosen.
  if (warming.mustStop()) return warming.result;
  await concurrently(files, READERS, (file) => warming.add(file));
  return warming.result;
}

class Warming {
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
    if (this.mustStop()) return;
    try {
      await this.#bring(file);
    } catch (error) {
      const code = errnoCode(error);
      if (code === 'ENOENT' || code === 'ENOTDIR') return; // evicted or replaced since
      if (code === undefined) throw error;
      this.result.failed.artifacts++;
      this.result.failed.bytes += file.bytes;
      this.result.failure ??= error instanceof Error ? error.message : code;
    }
  }

  async #bring({ bytes, region }: ArtifactFile): Promise<void> {
    const found = region && bytes > 0 ? await cachedPages(region.path, region.offset, region.length) : undefined;
    if (region === undefined || bytes === 0 || (found !== undefined && found.resident === found.pages)) {
      this.result.resident.artifacts++;
      this.result.resident.bytes += bytes;
      this.#advance(bytes);
    } else if (await this.#read(region, found?.resident === 0 ? undefined : found?.pageBytes)) {
      this.result.read.artifacts++;
    }
  }

  /** Resolves to whether all of it was read that was absent, and is there still. */
  async #read(region: Region, pageBytes: number | undefined): Promise<boolean> {
    const file = await openQuietly(region.path);
    const buffer = this.#idleBuffers.pop() ?? Buffer.allocUnsafeSlow(WINDOW_BYTES);
    try {
      for await (const { position, size, isResident } of windowsOf(region, pageBytes)) {
        if (this.mustStop()) return false;
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

  /** Whether it ends here. */
  mustStop(): boolean {
    const { signal, memory } = this.#options;
    if (signal.aborted) this.result.stopped ??= 'interrupted';
    else if (memory.level !== 'normal') this.result.stopped ??= 'pressure';
    return this.result.stopped !== null;
  }
}

interface Window {
  /** In the file, in bytes. */
  readonly position: number;
  readonly size: number;
  readonly isResident: boolean;
}

/** A region in order. Without `pageBytes` nothing of it is taken for resident, and nobody is asked. */
async function* windowsOf({ path, offset, length }: Region, pageBytes: number | undefined): AsyncGenerator<Window> {
  for (let at = 0; at < length; at += MAP_BYTES) {
    const start = offset + at;
    const end = offset + Math.min(length, at + MAP_BYTES);
    const map = pageBytes === undefined ? undefined : await pageMap(path, start, end - start);
    const isResident = (position: number, size: number): boolean =>
      map !== undefined &&
      pageBytes !== undefined &&
      isAllThere(map, pageBytes, position - start + (start % pageBytes), size);
    for (let position = start; position < end; position += WINDOW_BYTES) {
      const size = Math.min(WINDOW_BYTES, end - position);
      yield { position, size, isResident: isResident(position, size) };
    }
  }
}

/** Whether `size` bytes are resident that begin so many bytes behind the first page of a map. */
function isAllThere(map: Uint8Array, pageBytes: number, from: number, size: number): boolean {
  return !map.subarray(Math.floor(from / pageBytes), Math.ceil((from + size) / pageBytes)).includes(0);
}
