import { errnoCode } from '../../contract/errors.js';
import { cachedPages } from '../../page-cache/cached-pages.js';
import { forEachConcurrently } from '../../util/for-each-concurrently.js';
import type { ArtifactFile } from '../artifact-files.js';

/** Number of files probed concurrently. It is small, so that a server on the same machine is not slowed down. */
const PROBES = 4;

/** Resident bytes of an artifact. */
export interface ArtifactResidency {
  readonly name: string;
  readonly bytes: number;
  /** Number of resident bytes; `null` if unknown. */
  readonly residentBytes: number | null;
}

/** Sum over several artifacts. */
export interface ResidencySum {
  artifacts: number;
  bytes: number;
  /** Resident bytes of the artifacts whose residency is known. */
  residentBytes: number;
  /** Artifacts whose residency is unknown. */
  readonly unknown: { artifacts: number; bytes: number };
}

export interface ResidencySummary {
  /** The largest artifacts, in descending order of size. */
  readonly artifacts: readonly ArtifactResidency[];
  /** Sum of the other artifacts. */
  readonly rest: ResidencySum;
  readonly total: ResidencySum;
}

/** Determines the residency of artifacts and sums it up. Keeps the `top` largest artifacts for the summary. */
export class ResidencyReport {
  readonly #top: number;
  readonly #total: ResidencySum = newSum();
  #largest: ArtifactResidency[] = [];

  constructor(top: number) {
    this.#top = top;
  }

  /** Number of artifacts probed so far. */
  get artifacts(): number {
    return this.#total.artifacts;
  }

  /** Adds artifacts without reading them. Rejects with the system error if the page cache cannot be queried. */
  async add(files: AsyncIterable<ArtifactFile>): Promise<void> {
    await forEachConcurrently(files, PROBES, async (file) => {
      const residentBytes = await residentBytesOf(file);
      if (residentBytes === undefined) return; // deleted since it was listed
      const { name, bytes } = file;
      const artifact = { name, bytes, residentBytes };
      addTo(this.#total, artifact);
      this.#largest.push(artifact);
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

/**
 * Resolves to the number of resident bytes, to `null` if it is unknown, and to `undefined` if the file has been
 * deleted.
 */
async function residentBytesOf({ bytes, region }: ArtifactFile): Promise<number | null | undefined> {
  if (region === undefined || bytes === 0) return bytes;
  try {
    const cached = await cachedPages(region.path, region.offset, region.length);
    return cached === undefined ? null : Math.min(bytes, cached.resident * cached.pageBytes);
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
