import { createLog } from '../../util/log.js';

/** Logs failures of the remote store, and tasks that were dropped. Enabled by `DEBUG=hotblob:tiered`. */
export const logTiered = createLog('tiered');
