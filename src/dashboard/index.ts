export type { StatsSource } from '../handler/stats.js';
export { createDashboard, type Dashboard, type DashboardOptions } from './dashboard.js';
export type { ProcessStatsSource } from './statistics.js';
