export { storeConformance } from './conformance.js';
export type { RegisterTest, StoreCapabilities, StoreConformanceOptions } from './options.js';
