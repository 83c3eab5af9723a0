import debug from 'debug';

/** Why connections end that did not end by themselves. */
export const logConnection = debug('hotblob:connection');
