export type { StatsSource } from '../handler/stats.js';
export { createMetrics, type Metrics, type MetricsOptions } from './metrics.js';
