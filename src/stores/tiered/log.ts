import debug from 'debug';

/** `DEBUG=hotblob:tiered`: what the remote store has failed to do, and what has been given up. */
export const logTiered = debug('hotblob:tiered');
