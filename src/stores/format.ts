import { readFile } from 'node:fs/promises';
import { errnoCode, HotblobError } from '../contract/errors.js';
import { isMissing } from '../util/missing-file.js';

/** Version of the format of files that stores keep on the disk, for each kind of store. */
const FORMAT = 1;

/** Line of a file that says which format a store has. */
export const FORMAT_LINE = `format ${FORMAT}\n`;

/**
 * Checks that this version can read the format of a store. A store without such a line has format 1.
 *
 * @param dir directory of the store, for the error
 * @param path file with the line
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if a later version has written the store
 */
export async function assertKnownFormat(dir: string, path: string): Promise<void> {
  const text = await readFile(path, 'latin1').catch((error: unknown) => {
    // Each user may read a directory whose files in `.hotblob` only its owner may read.
    if (isMissing(error) || errnoCode(error) === 'EACCES') return '';
    throw error;
  });
  const format = /^format (\d+)$/m.exec(text)?.[1] ?? '1';
  if (Number(format) <= FORMAT) return;
  const message = `dir: expected a store of format ${FORMAT}, received one that was written by format ${format} at '${dir}'; upgrade hotblob, or use a new directory`;
  throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
}
