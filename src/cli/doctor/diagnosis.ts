import type { DirectoryDiagnosis } from './directory.js';

/** `active`: it loads. `absent`: it is not installed. Else why it does not load, in a sentence. */
export type OptionalState = string;

/** What is at work on this machine, with the defaults of a handler. Sizes are in bytes. */
export interface Diagnosis {
  readonly version: string;
  readonly node: string;
  readonly platform: string;
  /** What maps files; null where nothing does. */
  readonly mapper: 'mmap-io' | 'libc' | null;
  /** Whether bytes are copied from the page cache (preadv2 with RWF_NOWAIT), where the file system can do it. */
  readonly copiesResident: boolean;
  readonly optional: Readonly<Record<'mmap-io' | 'koffi' | 'lmdb', OptionalState>>;
  readonly memory: {
    /** What is measured: `none` where nothing can be. */
    readonly sensor: string;
    readonly level: string;
    readonly usedBytes: number;
    readonly limitBytes: number;
  };
  readonly limits: {
    /** RLIMIT_NOFILE. */
    readonly descriptors: number;
    /** Of these, for files that are kept open. */
    readonly openFiles: number;
    /** Mappings alive. */
    readonly mappings: number;
    /** Buffers that are being filled or sent. */
    readonly poolBytes: number;
    /** Parts of mappings that are being sent. */
    readonly mappedBytes: number;
  };
  readonly directories: readonly DirectoryDiagnosis[];
  /** The one thing that would gain most; null where nothing is left to gain. */
  readonly improvement: Improvement | null;
}

/** A command, and what it is for. */
export interface Improvement {
  /** For a POSIX shell, in the folder where hotblob is installed. */
  readonly command: string;
  /** A sentence. */
  readonly reason: string;
}
