import { type Columns, isCurrent, NAMESPACE_COLUMNS } from './columns.js';

/** Time in milliseconds between two samples. */
export const SAMPLE_MS = 2000;
/** Resolutions that are kept: 10 minutes with a value every 2 s, and an hour with a value every 16 s. */
const RESOLUTIONS = [
  { stepMs: SAMPLE_MS, points: 300 },
  { stepMs: 16_000, points: 226 },
] as const;
/** Maximum number of columns. All rings together take 220 * 526 * 8 bytes, which is 0.93 MB. */
const MAX_COLUMNS = 220;

/** Part of a history, in a short form for JSON. */
export interface HistoryWindow {
  /**
   * Times of the samples in milliseconds since the Unix epoch, oldest first. Like in the columns, the first value is followed by the
   * differences from the value before.
   */
  readonly times: readonly (number | null)[];
  /** Counters at these times, by name; null if a value is not known. */
  readonly columns: Readonly<Record<string, readonly (number | null)[]>>;
}

/** History that is recorded somewhere. */
export interface HistorySource {
  /** Resolves to the samples of the last `seconds`, or to `undefined` if they cannot be read. */
  read(seconds: number): Promise<HistoryWindow | undefined>;
}

/** Returns the first value, and of all others the difference from the value before. `null` stands for a value that is not known. */
export function differences(values: readonly (number | null)[]): (number | null)[] {
  let last = 0;
  return values.map((value) => {
    if (value === null) return null;
    const difference = value - last;
    last = value;
    return difference;
  });
}

/** Statistics of the last hour of one handler, in a fixed amount of memory. */
export class History {
  readonly #rings = RESOLUTIONS.map(({ stepMs, points }) => new Ring(stepMs, points));

  /** @param time in milliseconds since the Unix epoch */
  add(time: number, columns: Columns): void {
    for (const ring of this.#rings) ring.add(time, columns);
  }

  /** Returns the samples of the last `seconds`, at the finest resolution that is kept for that long. */
  read(seconds: number): HistoryWindow {
    const ring = this.#rings.find(({ spanMs }) => spanMs >= seconds * 1000) ?? this.#rings.at(-1);
    return ring?.read(seconds * 1000) ?? { times: [], columns: {} };
  }
}

/** Ring buffers of equal length: the time, and one for each column. */
class Ring {
  readonly spanMs: number;
  readonly #stepMs: number;
  readonly #points: number;
  readonly #times: Float64Array;
  readonly #columns = new Map<string, Float64Array>();
  /** Number of samples so far. */
  #count = 0;
  /** Values of the last sample, also those that have no column. */
  #previous: Columns = {};
  /** Largest current values since the last sample. */
  readonly #peaks = new Map<string, number>();

  constructor(stepMs: number, points: number) {
    this.spanMs = stepMs * points;
    this.#stepMs = stepMs;
    this.#points = points;
    this.#times = new Float64Array(points);
  }

  add(time: number, columns: Columns): void {
    const last = this.#count === 0 ? Number.NEGATIVE_INFINITY : this.#at(this.#times, this.#count - 1);
    // A timer fires a little early or late. A clock that was set back begins a new sample, too.
    const isDue = time < last || time - last >= this.#stepMs - SAMPLE_MS / 2;
    for (const [name, value] of Object.entries(columns)) {
      if (isCurrent(name)) this.#peaks.set(name, Math.max(value, this.#peaks.get(name) ?? value));
    }
    if (!isDue) return;
    const slot = this.#count++ % this.#points;
    this.#times[slot] = time;
    for (const values of this.#columns.values()) values[slot] = Number.NaN;
    for (const [name, value] of Object.entries(columns)) {
      const values = this.#columns.get(name) ?? this.#addColumn(name, value);
      if (values !== undefined) values[slot] = this.#peaks.get(name) ?? value;
    }
    this.#previous = columns;
    this.#peaks.clear();
  }

  read(spanMs: number): HistoryWindow {
    const end = this.#count;
    let start = Math.max(0, end - this.#points);
    const newest = end === 0 ? 0 : this.#at(this.#times, end - 1);
    while (start < end && this.#at(this.#times, start) < newest - spanMs) start++;
    const valuesOf = (ring: Float64Array): (number | null)[] =>
      Array.from({ length: end - start }, (_, index) => {
        const value = this.#at(ring, start + index);
        return Number.isNaN(value) ? null : value;
      });
    const columns = Array.from(this.#columns, ([name, ring]) => [name, valuesOf(ring)] as const);
    const known = columns.filter(([, values]) => values.some((value) => value !== null));
    return {
      times: differences(valuesOf(this.#times)),
      columns: Object.fromEntries(known.map(([name, values]) => [name, differences(values)])),
    };
  }

  #at(ring: Float64Array, sample: number): number {
    return ring[sample % this.#points] ?? Number.NaN;
  }

  /**
   * Adds a column for the current sample. Returns `undefined` if it has had the same value before: there was no place for it, or it was
   * removed while it was idle.
   */
  #addColumn(name: string, value: number): Float64Array | undefined {
    const before = this.#previous[name] ?? 0;
    const isFirst = this.#count === 1;
    if (!isFirst && !isCurrent(name) && before === value) return undefined;
    if (this.#columns.size >= MAX_COLUMNS && !this.#removeIdleNamespace()) return undefined;
    const values = new Float64Array(this.#points).fill(Number.NaN);
    // A reader needs the difference.
    if (!isFirst && !isCurrent(name)) values[(this.#count - 2) % this.#points] = before;
    this.#columns.set(name, values);
    return values;
  }

  /** Removes a column of a namespace that has been idle for as long as the ring reaches back. */
  #removeIdleNamespace(): boolean {
    if (this.#count <= this.#points) return false;
    for (const [name, values] of this.#columns) {
      // The slot of the current sample is empty. Counters do not decrease.
      const oldest = this.#at(values, this.#count);
      if (name.startsWith(NAMESPACE_COLUMNS) && oldest === this.#at(values, this.#count - 2)) {
        return this.#columns.delete(name);
      }
    }
    return false;
  }
}
