import { errnoCode } from '../../contract/errors.js';
import { cachedPages } from '../../page-cache/cached-pages.js';
import type { ArtifactFile } from '../artifact-files.js';
import { concurrently } from '../concurrently.js';

/** Files asked about at a time: a server beside it needs the threadpool's disks more. */
const PROBES = 4;

/** How much of an artifact is in the page cache. */
export interface ArtifactResidency {
  readonly name: string;
  readonly bytes: number;
  /** Null where nobody can tell. */
  readonly residentBytes: number | null;
}

/** The same of several. */
export interface ResidencySum {
  artifacts: number;
  bytes: number;
  /** Of those where it can be told. */
  residentBytes: number;
  /** Those where it cannot be told. */
  readonly unknown: { artifacts: number; bytes: number };
}

/** What {@link ResidencyReport} has gathered. */
export interface ResidencySummary {
  /** The largest, as many as were asked for; the largest comes first. */
  readonly artifacts: readonly ArtifactResidency[];
  /** All others. */
  readonly rest: ResidencySum;
  readonly total: ResidencySum;
}

/** Asks what the page cache has of artifacts. Keeps the largest of them, however many there are. */
export class ResidencyReport {
  readonly #top: number;
  readonly #total: ResidencySum = newSum();
  #largest: ArtifactResidency[] = [];

  constructor(top: number) {
    this.#top = top;
  }

  /** Asked for so far. */
  get artifacts(): number {
    return this.#total.artifacts;
  }

  /** Never reads them. Rejects with what the system says where the page cache cannot be asked. */
  async add(files: AsyncIterable<ArtifactFile>): Promise<void> {
    await concurrently(files, PROBES, async (file) => {
      const residentBytes = await residentBytesOf(file);
      if (residentBytes === undefined) return; // it has gone
      const { name, bytes } = file;
      const found = { name, bytes, residentBytes };
      addTo(this.#total, found);
      this.#largest.push(found);
      if (this.#largest.length > 1000 + 2 * this.#top) this.#largest = this.#sorted();
    });
  }

  summary(): ResidencySummary {
    const artifacts = this.#sorted();
    const rest: ResidencySum = { ...this.#total, unknown: { ...this.#total.unknown } };
    for (const { bytes, residentBytes } of artifacts) {
      rest.artifacts--;
      rest.bytes -= bytes;
      rest.residentBytes -= residentBytes ?? 0;
      if (residentBytes !== null) continue;
      rest.unknown.artifacts--;
      rest.unknown.bytes -= bytes;
    }
    return { artifacts, rest, total: this.#total };
  }

  #sorted(): ArtifactResidency[] {
    return this.#largest.sort((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : 1)).slice(0, this.#top);
  }
}

/** Null where nobody can tell, undefined where it has gone. */
async function residentBytesOf({ bytes, region }: ArtifactFile): Promise<number | null | undefined> {
  if (region === undefined || bytes === 0) return bytes;
  try {
    const found = await cachedPages(region.path, region.offset, region.length);
    return found === undefined ? null : Math.min(bytes, found.resident * found.pageBytes);
  } catch (error) {
    const code = errnoCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code === 'EACCES' || code === 'EPERM') return null;
    throw error;
  }
}

function newSum(): ResidencySum {
  return { artifacts: 0, bytes: 0, residentBytes: 0, unknown: { artifacts: 0, bytes: 0 } };
}

function addTo(sum: ResidencySum, { bytes, residentBytes }: ArtifactResidency): void {
  sum.artifacts++;
  sum.bytes += bytes;
  sum.residentBytes += residentBytes ?? 0;
  if (residentBytes !== null) return;
  sum.unknown.artifacts++;
  sum.unknown.bytes += bytes;
}
