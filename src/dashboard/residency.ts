import { stat } from 'node:fs/promises';
import type { Artifact } from '../contract/artifact.js';
import type { Store, StoreEntry } from '../contract/store.js';
import { parseArtifactKey } from '../keys/artifact-key.js';
import { cachedPages, pageMap } from '../page-cache/cached-pages.js';
import { pause } from '../util/loop-slices.js';
import type { Downloads, PastResponse } from './downloads.js';
import { type PageRun, pageRuns } from './page-runs.js';

/** Maximum number of artifacts in the map. */
const MAX_CELLS = 2000;
/**
 * Minimum time for which a map is reused. A map that takes long to create is reused longer, so that at most 1/20 of the
 * time is spent on creating maps.
 */
const FRESH_MS = 5000;
const REST_FACTOR = 20;
/** Number of entries after which a listing is ended that ignores the option `key`. */
const MAX_OTHERS = 100;
/** Time limit for probing the page cache. The residency of artifacts that have not been probed by then is unknown. */
const PROBE_MS = 2000;
/**
 * Number of files that are probed concurrently. It is small, because probes use the thread pool, which reads need too.
 */
const PROBES = 2;

/** Artifact in the residency map. */
export interface Cell {
  readonly key: string;
  readonly size: number;
  /** Number of bytes in the page cache or in process memory; `null` if unknown. */
  readonly resident: number | null;
  /** Number of downloads since the dashboard was first opened. */
  readonly downloads: number;
}

/** Residency of the artifacts of a store. */
export interface ResidencyMap {
  /** Time at which the store was listed, in milliseconds since the Unix epoch. */
  readonly at: number;
  /** Artifacts in descending order of downloads, then of size. */
  readonly cells: readonly Cell[];
  /** Number and total size of the artifacts that are not in `cells`. */
  readonly rest: { readonly artifacts: number; readonly bytes: number };
  /** Totals of all artifacts. `resident` is the sum over the cells whose residency is known. */
  readonly total: { readonly artifacts: number; readonly bytes: number; readonly resident: number };
}

/** Facts, resident pages and last responses of an artifact. */
export interface ArtifactDetails {
  /** Key in the store. */
  readonly key: string;
  readonly scope: string;
  readonly protocol: string;
  readonly namespace: string | null;
  /** Name of the client that uploaded it, as the access policy returned it; `null` if unknown. */
  readonly writer: string | null;
  /** Time of the upload in milliseconds since the Unix epoch; `null` if unknown. */
  readonly storedAt: number | null;
  /** Time of the last use or upload in milliseconds since the Unix epoch; `null` if unknown. */
  readonly usedAt: number | null;
  readonly size: number;
  /** Size of a page, or of a block of pages, in bytes. */
  readonly pageBytes: number;
  /** Runs of pages or blocks; `null` if unknown. */
  readonly runs: readonly PageRun[] | null;
  /** Last responses, latest first. */
  readonly responses: readonly PastResponse[];
}

interface Snapshot {
  readonly map: ResidencyMap;
  readonly entries: ReadonlyMap<string, StoreEntry>;
  /** Time at which the snapshot expires, by `performance.now()`. */
  readonly expiresAt: number;
}

/** Determines the residency of the artifacts of a store. Concurrent requests share one snapshot. */
export class Residency {
  readonly #store: Pick<Store, 'list'>;
  readonly #downloads: Downloads;
  #pending: Promise<Snapshot> | undefined;
  #latest: Snapshot | undefined;

  constructor(store: Pick<Store, 'list'>, downloads: Downloads) {
    this.#store = store;
    this.#downloads = downloads;
  }

  /** Resolves to the residency map, or to `undefined` if the store cannot be listed. */
  async map(): Promise<ResidencyMap | undefined> {
    return (await this.#snapshot())?.map;
  }

  /** Resolves to the details of an artifact, or to `undefined` if the artifact is not in the map. */
  async detailsOf(key: string): Promise<ArtifactDetails | undefined> {
    const listed = (await this.#snapshot())?.entries.get(key);
    if (listed === undefined) return undefined;
    const entry = (await this.#entryOf(key)) ?? listed;
    const { pageBytes, runs } = await runsOf(entry);
    const { scope, protocol, namespace = null } = parseArtifactKey(key);
    const responses = this.#downloads.responsesOf(key);
    return {
      key,
      scope,
      protocol,
      namespace,
      writer: entry.artifact.subject ?? null,
      storedAt: (await storedAtOf(entry.artifact)) ?? null,
      usedAt: Math.max(entry.usedAt, responses[0]?.time ?? 0) || null,
      size: entry.size,
      pageBytes,
      runs,
      responses,
    };
  }

  /** Discards the map, because an artifact was removed. */
  invalidate(): void {
    this.#latest = undefined;
  }

  /** Reads an entry with its metadata. Does not call `get` of the store, which would count as a use and change the eviction order. */
  async #entryOf(key: string): Promise<StoreEntry | undefined> {
    let others = 0;
    for await (const entry of this.#store.list?.({ key, metadata: true }) ?? []) {
      if (entry.key === key) return entry;
      if (++others === MAX_OTHERS) return undefined;
    }
    return undefined;
  }

  async #snapshot(): Promise<Snapshot | undefined> {
    if (this.#store.list === undefined) return undefined;
    if (this.#latest !== undefined && performance.now() < this.#latest.expiresAt) return this.#latest;
    this.#pending ??= this.#takeSnapshot(this.#store.list()).finally(() => {
      this.#pending = undefined;
    });
    return this.#pending;
  }

  async #takeSnapshot(list: AsyncIterable<StoreEntry>): Promise<Snapshot> {
    const at = Date.now();
    const startedAt = performance.now();
    const top = new TopEntries(MAX_CELLS, (key) => this.#downloads.countOf(key));
    for await (const entry of list) {
      top.add(entry);
      const paused = pause();
      if (paused !== undefined) await paused;
    }
    const entries = top.entries();
    const resident = await residentBytes(entries, performance.now() + PROBE_MS);
    const cells = entries.map(({ key, size }, index) => ({
      key,
      size,
      resident: resident[index] ?? null,
      downloads: this.#downloads.countOf(key),
    }));
    const shownBytes = cells.reduce((sum, { size }) => sum + size, 0);
    const durationMs = performance.now() - startedAt;
    this.#latest = {
      map: {
        at,
        cells,
        rest: { artifacts: top.artifacts - cells.length, bytes: top.bytes - shownBytes },
        total: {
          artifacts: top.artifacts,
          bytes: top.bytes,
          resident: cells.reduce((sum, cell) => sum + (cell.resident ?? 0), 0),
        },
      },
      entries: new Map(entries.map((entry) => [entry.key, entry])),
      expiresAt: performance.now() + Math.max(FRESH_MS, durationMs * REST_FACTOR),
    };
    return this.#latest;
  }
}

/**
 * Selects the entries with the most downloads, and among those with equally many, the largest. Uses bounded memory.
 * Also counts all entries.
 */
class TopEntries {
  artifacts = 0;
  bytes = 0;
  readonly #max: number;
  readonly #downloads: (key: string) => number;
  #entries: StoreEntry[] = [];

  constructor(max: number, downloads: (key: string) => number) {
    this.#max = max;
    this.#downloads = downloads;
  }

  add(entry: StoreEntry): void {
    this.artifacts++;
    this.bytes += entry.size;
    this.#entries.push(entry);
    if (this.#entries.length >= 2 * this.#max) this.#entries = this.entries();
  }

  entries(): StoreEntry[] {
    const ranked = this.#entries.map((entry) => ({ entry, downloads: this.#downloads(entry.key) }));
    ranked.sort((a, b) => b.downloads - a.downloads || b.entry.size - a.entry.size);
    return ranked.slice(0, this.#max).map(({ entry }) => entry);
  }
}

async function residentBytes(entries: readonly StoreEntry[], deadline: number): Promise<(number | null)[]> {
  const resident: (number | null)[] = entries.map(() => null);
  let next = 0;
  const probe = async (): Promise<void> => {
    while (next < entries.length && performance.now() < deadline) {
      const index = next++;
      const entry = entries[index];
      if (entry !== undefined) resident[index] = await residentBytesOf(entry);
    }
  };
  await Promise.all(Array.from({ length: PROBES }, probe));
  return resident;
}

async function residentBytesOf({ artifact, size }: StoreEntry): Promise<number | null> {
  if (artifact.kind === 'bytes') return size;
  if (artifact.kind === 'stream') return null;
  try {
    const cached = await cachedPages(...regionOf(artifact));
    return cached === undefined ? null : Math.min(size, cached.resident * cached.pageBytes);
  } catch {
    return null; // deleted since it was listed, or no permission to open it
  }
}

/** Resolves to the time of the upload: a store that does not report it has a file for each artifact. */
async function storedAtOf(artifact: Artifact): Promise<number | undefined> {
  if (artifact.lastModified !== undefined) return artifact.lastModified.getTime();
  if (artifact.kind !== 'file' || artifact.offset !== undefined) return undefined;
  return stat(artifact.path).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined, // deleted since it was listed
  );
}

async function runsOf({ artifact, size }: StoreEntry): Promise<Pick<ArtifactDetails, 'pageBytes' | 'runs'>> {
  if (artifact.kind === 'bytes') return { pageBytes: Math.max(1, size), runs: [[1, 1]] };
  if (artifact.kind === 'stream') return { pageBytes: Math.max(1, size), runs: null };
  try {
    const [path, offset, length] = regionOf(artifact);
    const map = await pageMap(path, offset, length);
    // Length 0: only the page size is needed.
    const cached = await cachedPages(path, offset, 0);
    if (cached === undefined || map === undefined) return { pageBytes: size, runs: null };
    const { block, runs } = await pageRuns(map);
    return { pageBytes: cached.pageBytes * block, runs };
  } catch {
    return { pageBytes: size, runs: null };
  }
}

function regionOf(artifact: Artifact & { kind: 'file' }): [string, number | undefined, number | undefined] {
  return [artifact.path, artifact.offset, artifact.length];
}
