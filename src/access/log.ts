import debug from 'debug';

/** `DEBUG=hotblob:access`: what becomes of the file of tokens. Never a token. */
export const logAccess = debug('hotblob:access');
