import { createLog } from '../util/log.js';

/**
 * Logs changes of the token file, warnings about the file, and refused requests of web pages (`DEBUG=hotblob:access`).
 * Never logs a token.
 */
export const logAccess = createLog('access');
