import test from 'ava';
import { storeConformance } from '../../../src/testing/index.js';
import { endServer, ownServer, WAYS } from './own-server.js';

for (const way of WAYS) {
  storeConformance({
    test,
    name: way,
    createStore: () => ownServer(way),
    disposeStore: endServer,
    // The server answers every upload with 200: clients of caches expect it.
    capabilities: { tellsCreated: false, metadata: true },
  });
}
