import debug from 'debug';

/** Logs the reason for which the server ended a connection or stream (`DEBUG=hotblob:connection`). */
export const logConnection = debug('hotblob:connection');
