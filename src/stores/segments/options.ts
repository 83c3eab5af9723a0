import { assertOptions, BYTES, countFrom, FLAG, invalidOption, oneOf } from '../../contract/validation.js';
import { RETAIN, type RetentionRule, RetentionRules } from '../retention/rules.js';

/** Options of `segmentStore`. */
export interface SegmentStoreOptions {
  /**
   * Limit for the disk usage in bytes: the segment files, including dead bytes, and an estimate for the index, of which 4 MiB, or
   * an eighth of the limit, are for unused pages. If an
   * upload needs space, the coldest segment is evicted; recently read artifacts in it are retained. Default: no limit.
   */
  readonly maxBytes?: number | undefined;
  /** Limits for groups of artifacts, for example for each scope. Default: only `maxBytes`. */
  readonly retain?: readonly RetentionRule[] | undefined;
  /**
   * Size in bytes at which a segment is full. A body larger than a quarter of this size gets a segment of its own.
   * Default: 256 MiB, or an eighth of `maxBytes` if that is less.
   */
  readonly segmentBytes?: number | undefined;
  /**
   * Time at which an upload is acknowledged. `'fsync'`: when the upload is on the disk. `'none'`: when the kernel has
   * buffered it. With `'none'`, uploads survive a crash of the process; after a crash of the system, the store starts
   * empty. Default: `'fsync'`.
   */
  readonly durability?: 'fsync' | 'none' | undefined;
  /**
   * Whether `get` compares each body with its checksum first. A corrupt body is a miss, and is removed. Each body is then read twice, and `get` always returns a promise. Default: `false`.
   */
  readonly verifyReads?: boolean | undefined;
  /**
   * Whether to open the store for reading only. Any number of processes may do so, even while another process writes to
   * the store. Default: `false`.
   */
  readonly readOnly?: boolean | undefined;
  /**
   * Whether the group of the process may read and write what the store creates: files have mode 0660 and directories 0770, less
   * the umask. Needed if other users read the store, because readers write to the lock file of the index. Existing files and
   * directories are not changed. Default: false, mode 0600 and 0700.
   */
  readonly groupAccess?: boolean | undefined;
}

const DEFAULT_SEGMENT_BYTES = 256 * 1024 * 1024;
/**
 * Minimum number of segments that fit into `maxBytes`, so that the eviction of one segment does not empty the store.
 */
const MIN_SEGMENTS = 8;
/**
 * Maximum of `segmentBytes`. An offset has six bytes in the index, and the upper half of its range is used for inline
 * bodies.
 */
const MAX_SEGMENT_BYTES = 2 ** 40;

const CHECKS = {
  maxBytes: BYTES,
  retain: RETAIN,
  segmentBytes: countFrom(1),
  durability: oneOf('fsync', 'none'),
  verifyReads: FLAG,
  readOnly: FLAG,
  groupAccess: FLAG,
};

/**
 * Validates the options, and returns the compiled rules.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function assertSegmentOptions(options: SegmentStoreOptions): RetentionRules {
  assertOptions(options, CHECKS);
  segmentBytesOf(options);
  return new RetentionRules(options.retain, options.maxBytes);
}

/**
 * Returns the size at which a segment is full.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `segmentBytes` is too large
 */
export function segmentBytesOf({ maxBytes = Number.POSITIVE_INFINITY, segmentBytes }: SegmentStoreOptions): number {
  const bytes = segmentBytes ?? Math.min(DEFAULT_SEGMENT_BYTES, maxBytes / MIN_SEGMENTS);
  if (bytes > MAX_SEGMENT_BYTES) throw invalidOption('segmentBytes', `at most ${MAX_SEGMENT_BYTES} bytes`, bytes);
  return bytes;
}
