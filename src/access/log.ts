import debug from 'debug';

/** Logs changes of the tokens under `DEBUG=hotblob:access`. Never logs a token. */
export const logAccess = debug('hotblob:access');
