export type { Counting } from '../stats.js';
export { createMetrics, type Metrics, type MetricsOptions } from './metrics.js';
