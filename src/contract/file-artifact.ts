import { resolve, sep } from 'node:path';
import type { ArtifactMetadata, FileArtifact } from './artifact.js';
import { HotblobError } from './errors.js';
import { assertOptions, BYTES, FLAG, invalidOption, OBJECT, type OptionCheck } from './validation.js';

/** Options of {@link fileArtifact}: the fields of {@link FileArtifact} other than its path. */
export interface FileArtifactOptions extends ArtifactMetadata {
  /** Offset of the artifact in the file, in bytes. Default: 0. */
  readonly offset?: number | undefined;
  /** Length of the artifact in bytes. Default: up to the end of the file. */
  readonly length?: number | undefined;
  /**
   * Promise that the file is only appended to, replaced by rename, or unlinked: never truncated and never rewritten in place. Only
   * such files are mapped. Default: false.
   */
  readonly immutable?: boolean | undefined;
  /**
   * Absolute path of a directory, with symbolic links resolved: call `fs.realpath` once when the server starts. `path` is then
   * relative to it. A path that leaves the directory, through dots or symbolic links, is a miss. Default: no restriction; a relative
   * `path` is resolved against the working directory.
   */
  readonly root?: string | undefined;
}

/**
 * Describes a file to send. Does no I/O: the file is opened when it is sent.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or invalid option, or a `path` that is not a non-empty string
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` (status 400) for a path with a NUL character, which may come from a URL
 */
export function fileArtifact(path: string, options: FileArtifactOptions = {}): FileArtifact {
  if (typeof path !== 'string' || path === '') throw invalidOption('path', 'the path of a file', path);
  if (path.includes('\0')) throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'path: expected no NUL character');
  assertOptions(options, CHECKS);
  const { root } = options;
  const file = root === undefined ? resolve(path) : resolve(root, path);
  const isOutside = root !== undefined && !file.startsWith(root.endsWith(sep) ? root : root + sep);
  // The root is a directory, so it is a miss. Opening the path outside could have a side effect if it is a device.
  const artifact = { kind: 'file', path: isOutside ? root : file } as const;
  // Runs once per request: an object spread took 1 us here, Object.assign a twentieth of it (Node 20).
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
