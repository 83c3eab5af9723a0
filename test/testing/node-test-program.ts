// Runs the suite under node:test for a broken store. The first argument names the store; default: a correct store.
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
