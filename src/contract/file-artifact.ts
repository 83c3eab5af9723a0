import { resolve, sep } from 'node:path';
import type { ArtifactMetadata, FileArtifact } from './artifact.js';
import { HotblobError } from './errors.js';
import { assertOptions, BYTES, FLAG, invalidOption, OBJECT, type OptionCheck } from './validation.js';

/** What may be said of a file: what {@link FileArtifact} has beside its path. */
export interface FileArtifactOptions extends ArtifactMetadata {
  /** Where the artifact begins in the file, in bytes. Default: 0. */
  readonly offset?: number | undefined;
  /** How long it is, in bytes. Default: up to the end of the file. */
  readonly length?: number | undefined;
  /**
   * Your promise that the file is only ever appended to, replaced by rename, or unlinked: never truncated and never
   * rewritten in place. Only then is it mapped. Default: false.
   */
  readonly immutable?: boolean | undefined;
  /**
   * An absolute path of a directory, symlinks resolved (`fs.realpath`, once, when the server starts): `path` is relative to
   * it, and whatever leads out of it, dots or symlinks, is a miss. Default: `path` may be anywhere, and a relative one
   * starts from the working directory of this moment.
   */
  readonly root?: string | undefined;
}

/**
 * A file to be sent. Nothing is opened or looked at before that.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or wrong option, or a path that is no string or empty;
 * `ERR_HOTBLOB_INVALID_KEY` (status 400) for a path with a NUL, which may come from a URL
 */
export function fileArtifact(path: string, options: FileArtifactOptions = {}): FileArtifact {
  if (typeof path !== 'string' || path === '') throw invalidOption('path', 'the path of a file', path);
  if (path.includes('\0')) throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'no path holds a NUL character');
  assertOptions(options, CHECKS);
  const { root } = options;
  const file = root === undefined ? resolve(path) : resolve(root, path);
  const isOutside = root !== undefined && !file.startsWith(root.endsWith(sep) ? root : root + sep);
  // A directory is a miss. To open what is outside would do something already, where it is a device.
  const artifact = { kind: 'file', path: isOutside ? root : file } as const;
  // With every request: to spread such options took V8 a microsecond, this a twentieth of it (Node 20).
  return Object.assign(artifact, options);
}

const TEXT: OptionCheck = { expected: 'a string', accepts: (value) => typeof value === 'string' };

const CHECKS: Readonly<Record<keyof FileArtifactOptions, OptionCheck>> = {
  etag: {
    expected: 'an entity tag with its quotes, such as \'"abc"\'',
    accepts: (value) => typeof value === 'string' && /^(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"$/.test(value),
  },
  lastModified: {
    expected: 'a valid Date',
    accepts: (value) => value instanceof Date && !Number.isNaN(value.getTime()),
  },
  contentType: TEXT,
  contentEncoding: TEXT,
  cacheControl: TEXT,
  headers: OBJECT,
  offset: BYTES,
  length: BYTES,
  immutable: FLAG,
  root: {
    expected: 'an absolute path without "." and ".."',
    accepts: (value) => typeof value === 'string' && (value === resolve(value) || value === `${resolve(value)}${sep}`),
  },
};
