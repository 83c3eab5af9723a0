import type { ServerReport } from './server.js';

/** One line of the result. */
export interface Line {
  readonly workload: string;
  /** What is counted, with its unit. */
  readonly figure: string;
  readonly hotblob: string;
  readonly against: string;
  /** Of the best rounds. */
  readonly ratio: string;
  /** The median of the rounds, each compared within itself. */
  readonly medianRatio: string;
  readonly target: string;
  readonly isMet: boolean;
  /** Server CPU time per request in microseconds: ours, then theirs. */
  readonly cpu: string;
  readonly remark: string;
}

const COLUMNS: readonly { readonly title: string; readonly of: (line: Line) => string }[] = [
  { title: 'workload', of: (line) => line.workload },
  { title: 'figure', of: (line) => line.figure },
  { title: 'hotblob', of: (line) => line.hotblob },
  { title: 'against', of: (line) => line.against },
  { title: 'ratio', of: (line) => line.ratio },
  { title: 'median', of: (line) => line.medianRatio },
  { title: 'target', of: (line) => line.target },
  { title: 'met', of: (line) => (line.isMet ? 'yes' : 'MISSED') },
  { title: 'CPU µs/request', of: (line) => line.cpu },
  { title: 'remark', of: (line) => line.remark },
];

/** A Markdown table whose columns line up. */
export function tableOf(lines: readonly Line[]): string {
  const rows = [COLUMNS.map(({ title }) => title), ...lines.map((line) => COLUMNS.map(({ of }) => of(line)))];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const text = rows.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`);
  return [text[0], `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...text.slice(1)].join('\n');
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
}

/** With a sensible number of digits. */
export function show(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Where this package has taken its bytes from, the largest share first. */
export function sourcesOf(sent: ServerReport['sent']): string {
  const counts = Object.entries(sent ?? {}).map(([source, { bytes }]) => ({ source, bytes }));
  const total = counts.reduce((sum, { bytes }) => sum + bytes, 0);
  return counts
    .filter(({ bytes }) => bytes >= total / 1000 && bytes > 0)
    .sort((a, b) => b.bytes - a.bytes)
    .map(({ source, bytes }) => `${source} ${Number(((100 * bytes) / total).toFixed(1))}%`)
    .join(', ');
}
