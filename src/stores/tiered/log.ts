import debug from 'debug';

/** Logs failures of the remote store, and uploads and deletions that it will not receive. Enabled by `DEBUG=hotblob:tiered`. */
export const logTiered = debug('hotblob:tiered');
