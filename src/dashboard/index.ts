export type { Counting } from '../stats.js';
export { createDashboard, type Dashboard, type DashboardOptions } from './dashboard.js';
