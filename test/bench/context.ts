/** What the rows need from the run that they are part of. */
export interface BenchContext {
  /** Removed at the end. */
  readonly directory: string;
  readonly hotDirectory: string;
  readonly isQuick: boolean;
  progress(workload: string): void;
  /** Notes why a workload is not measured, and has no lines. */
  skip(workload: string, reason: string): [];
}
