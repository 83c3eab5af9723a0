import debug from 'debug';

/** Logs changes of the token file, and warnings about the file (`DEBUG=hotblob:access`). Never logs a token. */
export const logAccess = debug('hotblob:access');
