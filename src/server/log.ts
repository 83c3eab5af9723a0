import { createLog } from '../util/log.js';

/** Logs the reason for which the server ended a connection or stream (`DEBUG=hotblob:connection`). */
export const logConnection = createLog('connection');
