// Serves a shared store, with two handlers whose defaults of `overwrite` differ. Ends when the parent closes the channel.
// Arguments: the directory of the store, and that of Tuist's parts.
import { sharedStore } from '../../../src/stores/shared/store.js';
import { openServer, type RunningServer } from '../../helpers/servers.js';
import { createScopedHandler } from './site.js';

const [dir = '', uploadsDir = ''] = process.argv.slice(2);
const store = await sharedStore(dir, { kind: 'segments' });
const servers: RunningServer[] = [];
for (const overwrite of [true, false]) {
  const { server } = await openServer('port-http', createScopedHandler(store, uploadsDir, overwrite));
  servers.push(server);
}
process.on('disconnect', () => process.exit(0));
process.send?.(servers);
