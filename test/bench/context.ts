/** Environment of a benchmark run. */
export interface BenchContext {
  /** Temporary directory of the run. */
  readonly directory: string;
  readonly hotDirectory: string;
  readonly isQuick: boolean;
  progress(workload: string): void;
  /** Records why a workload is not measured. Returns no lines. */
  skip(workload: string, reason: string): [];
}
