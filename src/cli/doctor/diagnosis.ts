import type { DirectoryDiagnosis } from './directory.js';
import type { ServeDiagnosis } from './serve-checks.js';

/**
 * State of an optional package: `active` if it can be loaded, `absent` if it is not installed, otherwise the error
 * message.
 */
export type OptionalState = string;

/** Features that a handler with default options uses on this machine. Sizes are in bytes. */
export interface Diagnosis {
  readonly version: string;
  readonly node: string;
  readonly platform: string;
  /** Native binding that maps files; `null` if none can be loaded. */
  readonly mapper: 'mmap-io' | 'libc' | null;
  /** Whether resident bytes can be copied with preadv2 and RWF_NOWAIT. The file system must support it too. */
  readonly copiesResident: boolean;
  readonly optional: Readonly<Record<'mmap-io' | 'koffi' | 'lmdb', OptionalState>>;
  readonly memory: {
    /** Source of the figures; `none` if memory cannot be measured. */
    readonly sensor: string;
    readonly level: string;
    readonly usedBytes: number;
    readonly limitBytes: number;
  };
  readonly limits: {
    /** Maximum number of file descriptors (RLIMIT_NOFILE). */
    readonly descriptors: number;
    /** Maximum number of files that a handler keeps open. */
    readonly openFiles: number;
    /** Maximum number of mappings. */
    readonly mappings: number;
    /** Maximum size of the buffer pool. */
    readonly maxPooledBytes: number;
    /** Maximum number of mapped bytes in flight. */
    readonly mappedBytes: number;
  };
  /** Whether `hotblob serve` would start with the given options; `null` if that was not checked. */
  readonly serve: ServeDiagnosis | null;
  readonly directories: readonly DirectoryDiagnosis[];
  /** Improvement with the largest effect; `null` if there is none. */
  readonly improvement: Improvement | null;
}

/** Suggested command, and the reason to run it. */
export interface Improvement {
  /** Command for a POSIX shell, run in the directory where hotblob is installed. */
  readonly command: string;
  readonly reason: string;
}
