export type { S3StoreOptions } from './options.js';
export { type S3Store, s3Store } from './store.js';
