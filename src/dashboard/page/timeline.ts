import { type Columns, columnsOf, NAMESPACE_COLUMNS } from '../../history/columns.js';
import type { HistoryWindow } from '../../history/history.js';
import type { Sample } from '../statistics.js';

/** Statistics at one moment. */
export interface Point {
  /** In milliseconds since the Unix epoch. */
  readonly time: number;
  readonly columns: Columns;
  /** Whether the page received the whole sample, not a part of the history. */
  readonly isWhole: boolean;
}

export function pointOf(sample: Sample): Point {
  return { time: sample.time, columns: columnsOf(sample), isWhole: true };
}

/** Points of the chosen window of time: the history of the server, and the samples since then. */
export class Timeline {
  /** Oldest first. The last one is the latest sample, also if it is closer to the one before than the others. */
  points: readonly Point[] = [];
  #seconds: number;

  constructor(seconds: number) {
    this.#seconds = seconds;
  }

  get seconds(): number {
    return this.#seconds;
  }

  /** Loads the last seconds from the server. Without an answer, the points remain. */
  async load(seconds: number): Promise<void> {
    this.#seconds = seconds;
    const response = await fetch(`history.json?seconds=${seconds}`).catch(() => undefined);
    if (!response?.ok) return;
    const loaded = decode((await response.json()) as HistoryWindow); // sent by the dashboard of the same package
    const last = loaded.at(-1)?.time ?? 0;
    this.points = [...loaded, ...this.points.filter(({ time, isWhole }) => isWhole && time > last)];
  }

  add(point: Point): void {
    const before = this.points.at(-2);
    const stepMs = this.#seconds > 600 ? 15_000 : 1500;
    const isBetween = before !== undefined && (this.points.at(-1)?.time ?? 0) - before.time < stepMs;
    const kept = isBetween ? this.points.slice(0, -1) : this.points;
    const start = point.time - this.#seconds * 1000;
    this.points = [...kept.filter(({ time }) => time >= start), point];
  }
}

/** Returns the points of a history. */
function decode({ times, columns }: HistoryWindow): Point[] {
  const known = Object.entries(columns).map(([name, differences]) => [name, sums(differences)] as const);
  return sums(times).flatMap((time, index) => {
    if (time === null) return [];
    const values = known.flatMap(([name, column]): [string, number][] => {
      const value = column[index];
      return value === null || value === undefined ? [] : [[name, value]];
    });
    return [{ time, columns: Object.fromEntries(values), isWhole: false }];
  });
}

function sums(differences: readonly (number | null)[]): (number | null)[] {
  let sum = 0;
  return differences.map((difference) => {
    if (difference === null) return null;
    sum += difference;
    return sum;
  });
}

/** Returns how much a counter has increased from the first to the last of several points. */
export function increase(points: readonly Point[], name: string): number {
  const last = points.at(-1)?.columns[name] ?? 0;
  // A history does not have the columns of all namespaces. Without its column, any other counter was 0.
  const isKnown = ({ columns, isWhole }: Point): boolean => columns[name] !== undefined || isWhole;
  const first = name.startsWith(NAMESPACE_COLUMNS) ? points.find(isKnown) : points[0];
  return Math.max(0, last - (first?.columns[name] ?? 0));
}
