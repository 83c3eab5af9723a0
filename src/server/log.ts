import debug from 'debug';

/** Logs why the server ended a connection or stream (`DEBUG=hotblob:connection`). */
export const logConnection = debug('hotblob:connection');
