// The suite under node:test, for the store that the command line names.
import test from 'node:test';
import { storeConformance } from '../../src/testing/index.js';
import { brokenUploads } from './broken-uploads.js';
import { LARGE_BYTES, PlainStore } from './plain-stores.js';

const broken = brokenUploads[process.argv[2] ?? ''];

storeConformance({
  test,
  createStore: () => broken?.create('') ?? new PlainStore(),
  largeBytes: LARGE_BYTES,
});
