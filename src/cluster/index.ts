export type { HistorySource, HistoryWindow } from '../history/history.js';
export { type SharedStore, type SharedStoreOptions, sharedStore } from '../stores/shared/store.js';
export {
  type ClusterStats,
  type ClusterStatsOptions,
  clusterStats,
  type HistoryOrigins,
  type ProcessesSource,
  type StoreOfProcess,
} from './cluster-stats.js';
export type { CloseReason } from './messages.js';
export { type ProcessesOptions, type RunningProcesses, runProcesses } from './run-processes.js';
export type { ServingProcess, StartedProcess, StartProcess } from './serving-process.js';
export type { ClusterTotals, NamedStats, ProcessStats } from './sum-stats.js';
