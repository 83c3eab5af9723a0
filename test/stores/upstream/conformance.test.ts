import test from 'ava';
import { storeConformance } from '../../../src/testing/index.js';
import { closeHotblobUpstream, openHotblobUpstream, TRANSPORTS } from './hotblob-upstream.js';

for (const transport of TRANSPORTS) {
  storeConformance({
    test,
    name: transport,
    createStore: () => openHotblobUpstream(transport),
    disposeStore: closeHotblobUpstream,
    // The server responds to every upload with 200, because build tools expect it.
    capabilities: { reportsCreated: false, metadata: true },
  });
}
