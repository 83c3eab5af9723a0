import type { Artifact } from '../contract/artifact.js';
import type { Store, StoreEntry } from '../contract/store.js';
import { cachedPages, pageMap } from '../page-cache/cached-pages.js';
import type { Downloads, PastResponse } from './downloads.js';

/** Artifacts that are shown by themselves. */
const MAX_CELLS = 2000;
/** A look at the store is good for so long, and for longer where it takes long: it must not be all that the server does. */
const FRESH_MS = 5000;
const REST_FACTOR = 20;
/** How long the page cache is asked; what is left then is unknown. */
const PROBE_MS = 2000;
/** Files that are asked for at the same time: more would keep the thread pool from reads. */
const PROBES = 2;
/** Runs of pages that are told of one artifact. */
const MAX_RUNS = 20_000;

/** An artifact in the map. */
export interface Cell {
  readonly key: string;
  readonly size: number;
  /** Bytes in the page cache, or in memory; null where nobody can tell. */
  readonly resident: number | null;
  /** How often it was sent, since somebody first looked. */
  readonly downloads: number;
}

/** What of a store is in the page cache. */
export interface ResidencyMap {
  /** When the look began, in milliseconds since 1970. */
  readonly at: number;
  /** The most downloaded come first, then the largest. */
  readonly cells: readonly Cell[];
  /** What is not among them. */
  readonly rest: { readonly artifacts: number; readonly bytes: number };
  /** All together; `resident` is that of the cells, as far as it is known. */
  readonly total: { readonly artifacts: number; readonly bytes: number; readonly resident: number };
}

/** One artifact page by page. */
export interface ArtifactPages {
  readonly key: string;
  readonly size: number;
  /** What a page, or a block of them, has in bytes. */
  readonly pageBytes: number;
  /** Whether they are in the page cache, and how many of them; null where nobody can tell. */
  readonly runs: readonly (readonly [0 | 1, number])[] | null;
  /** The latest comes first. */
  readonly responses: readonly PastResponse[];
}

interface Look {
  readonly map: ResidencyMap;
  readonly entries: ReadonlyMap<string, StoreEntry>;
  /** By `performance.now()`. */
  readonly goodUntil: number;
}

/** Looks at a store, and at the page cache, for all who ask at the same time. */
export class Residency {
  readonly #store: Pick<Store, 'list'>;
  readonly #downloads: Downloads;
  #looking: Promise<Look> | undefined;
  #last: Look | undefined;

  constructor(store: Pick<Store, 'list'>, downloads: Downloads) {
    this.#store = store;
    this.#downloads = downloads;
  }

  /** Undefined for a store that cannot be listed. */
  async map(): Promise<ResidencyMap | undefined> {
    return (await this.#look())?.map;
  }

  /** Undefined for what is not in the map. */
  async pagesOf(key: string): Promise<ArtifactPages | undefined> {
    // Asking the store for it would count as a use.
    const entry = (await this.#look())?.entries.get(key);
    if (entry === undefined) return undefined;
    const { pages, runs } = await runsOf(entry);
    const responses = this.#downloads.responsesOf(key);
    return { key, size: entry.size, pageBytes: pages, runs, responses };
  }

  async #look(): Promise<Look | undefined> {
    if (this.#store.list === undefined) return undefined;
    if (this.#last !== undefined && performance.now() < this.#last.goodUntil) return this.#last;
    this.#looking ??= this.#lookNow(this.#store.list()).finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #lookNow(list: AsyncIterable<StoreEntry>): Promise<Look> {
    const at = Date.now();
    const startedAt = performance.now();
    const top = new Top(MAX_CELLS, (key) => this.#downloads.countOf(key));
    for await (const entry of list) top.add(entry);
    const entries = top.entries();
    const resident = await residentBytes(entries, performance.now() + PROBE_MS);
    const cells = entries.map(({ key, size }, index) => ({
      key,
      size,
      resident: resident[index] ?? null,
      downloads: this.#downloads.countOf(key),
    }));
    const shownBytes = cells.reduce((sum, { size }) => sum + size, 0);
    const took = performance.now() - startedAt;
    this.#last = {
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
      goodUntil: performance.now() + Math.max(FRESH_MS, took * REST_FACTOR),
    };
    return this.#last;
  }
}

/** The entries that are worth most, of as many as there are, in bounded memory. */
class Top {
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
    if (this.#entries.length >= 4 * this.#max) this.#entries = this.entries();
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
    const found = await cachedPages(...regionOf(artifact));
    return found === undefined ? null : Math.min(size, found.resident * found.pageBytes);
  } catch {
    return null; // it has gone, or may not be opened
  }
}

async function runsOf({ artifact, size }: StoreEntry): Promise<{ pages: number; runs: ArtifactPages['runs'] }> {
  if (artifact.kind === 'bytes') return { pages: Math.max(1, size), runs: [[1, 1]] };
  if (artifact.kind === 'stream') return { pages: Math.max(1, size), runs: null };
  try {
    const [path, offset, length] = regionOf(artifact);
    const [found, map] = [await cachedPages(path, offset, length), await pageMap(path, offset, length)];
    if (found === undefined || map === undefined) return { pages: size, runs: null };
    let block = 1;
    let runs = runsIn(map, block);
    while (runs.length > MAX_RUNS) {
      block *= 2;
      runs = runsIn(map, block);
    }
    return { pages: found.pageBytes * block, runs };
  } catch {
    return { pages: size, runs: null };
  }
}

/** Blocks of as many pages each; one is resident when all of its pages are. */
function runsIn(map: Uint8Array, block: number): [0 | 1, number][] {
  const runs: [0 | 1, number][] = [];
  for (let start = 0; start < map.length; start += block) {
    const state = map.subarray(start, start + block).includes(0) ? 0 : 1;
    const last = runs.at(-1);
    if (last?.[0] === state) last[1]++;
    else runs.push([state, 1]);
  }
  return runs;
}

function regionOf(artifact: Artifact & { kind: 'file' }): [string, number | undefined, number | undefined] {
  return [artifact.path, artifact.offset, artifact.length];
}
