import { assertOptions, BYTES, FLAG } from '../../contract/validation.js';
import { RETAIN, type RetentionRule, RetentionRules } from '../retention/rules.js';

/** Options of `directoryStore`. */
export interface DirectoryStoreOptions {
  /**
   * Whether all files are immutable (see `FileArtifact.immutable`). With true, the caller guarantees this for
   * every process that writes to the directory. Default: true if a directory store created the directory, because then
   * only stores write to it; otherwise false.
   */
  readonly immutable?: boolean | undefined;
  /**
   * Limit for the disk usage, in bytes. Blocks of files count, 1 KiB for each file, 5 KiB for each directory, metadata of uploads
   * and uploads of this process in flight. When an upload needs space, the least recently used files are deleted, also those of
   * other processes. The list of these files, about 10 MB, is in memory, and renewed by scans in the background. Default: no limit.
   */
  readonly maxBytes?: number | undefined;
  /** Limits for groups of artifacts, for example for each scope. Default: only `maxBytes`. */
  readonly retain?: readonly RetentionRule[] | undefined;
  /**
   * Whether the group of the process may read and write what the store creates: files have mode 0660 and directories 0770, less
   * the umask. For several users that share the directory. Existing files and directories are not changed. Default: false, mode
   * 0600 and 0700.
   */
  readonly groupAccess?: boolean | undefined;
  /**
   * Whether to open the directory for reading only. It must exist, nothing is written to it, and `maxBytes` and `retain` have no effect. Default:
   * false; a directory that the process cannot write to is then an error.
   */
  readonly readOnly?: boolean | undefined;
}

/**
 * Validates the options, and returns the compiled rules.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function assertDirectoryOptions(options: DirectoryStoreOptions): RetentionRules {
  assertOptions(options, { immutable: FLAG, maxBytes: BYTES, retain: RETAIN, groupAccess: FLAG, readOnly: FLAG });
  return new RetentionRules(options.retain, options.maxBytes);
}
