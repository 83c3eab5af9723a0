import debug from 'debug';

/** Logs failures of the remote store, and tasks that were dropped. Enabled by `DEBUG=hotblob:tiered`. */
export const logTiered = debug('hotblob:tiered');
