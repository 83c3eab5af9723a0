import type { ServerReport } from './server.js';

/** One row of the table. */
export interface Line {
  readonly workload: string;
  /** Measured quantity and its unit. */
  readonly figure: string;
  readonly hotblob: string;
  readonly against: string;
  /** Ratio of the best rounds. */
  readonly ratio: string;
  /** Median of the ratios of all rounds. */
  readonly medianRatio: string;
  readonly target: string;
  readonly isMet: boolean;
  /** CPU time of the server per request in microseconds: hotblob, then the other. */
  readonly cpu: string;
  readonly remark: string;
}

const COLUMNS: readonly { readonly title: string; readonly cellOf: (line: Line) => string }[] = [
  { title: 'workload', cellOf: (line) => line.workload },
  { title: 'figure', cellOf: (line) => line.figure },
  { title: 'hotblob', cellOf: (line) => line.hotblob },
  { title: 'against', cellOf: (line) => line.against },
  { title: 'ratio', cellOf: (line) => line.ratio },
  { title: 'median', cellOf: (line) => line.medianRatio },
  { title: 'target', cellOf: (line) => line.target },
  { title: 'met', cellOf: (line) => (line.isMet ? 'yes' : 'MISSED') },
  { title: 'CPU µs/request', cellOf: (line) => line.cpu },
  { title: 'remark', cellOf: (line) => line.remark },
];

/** Returns a Markdown table with aligned columns. */
export function tableOf(lines: readonly Line[]): string {
  const rows = [COLUMNS.map(({ title }) => title), ...lines.map((line) => COLUMNS.map(({ cellOf }) => cellOf(line)))];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const text = rows.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`);
  return [text[0], `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...text.slice(1)].join('\n');
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
}

/** Formats a number with about three significant digits. */
export function show(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Returns the share of bytes that hotblob sent from each source, the largest first. */
export function sourcesOf(sent: ServerReport['sent']): string {
  const counts = Object.entries(sent ?? {}).map(([source, { bytes }]) => ({ source, bytes }));
  const total = counts.reduce((sum, { bytes }) => sum + bytes, 0);
  return counts
    .filter(({ bytes }) => bytes >= total / 1000 && bytes > 0)
    .sort((a, b) => b.bytes - a.bytes)
    .map(({ source, bytes }) => `${source} ${Number(((100 * bytes) / total).toFixed(1))}%`)
    .join(', ');
}
