import type { DirectoryDiagnosis } from './directory.js';

/** `active` if the package can be loaded, `absent` if it is not installed, else the error that loading it throws. */
export type OptionalState = string;

/** Features that a handler with default options uses on this machine. Sizes are in bytes. */
export interface Diagnosis {
  readonly version: string;
  readonly node: string;
  readonly platform: string;
  /** Binding that maps files; `null` if there is none. */
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
    /** RLIMIT_NOFILE. */
    readonly descriptors: number;
    /** Descriptors for files that are kept open. */
    readonly openFiles: number;
    readonly mappings: number;
    /** Size of the buffer pool. */
    readonly maxPooledBytes: number;
    /** Mapped bytes in flight. */
    readonly mappedBytes: number;
  };
  readonly directories: readonly DirectoryDiagnosis[];
  /** Improvement with the largest effect; `null` if there is none. */
  readonly improvement: Improvement | null;
}

/** Command that improves a diagnosis. */
export interface Improvement {
  /** Command for a POSIX shell, run in the directory where hotblob is installed. */
  readonly command: string;
  readonly reason: string;
}
