import type { IndexEntry, Location } from './index-entry.js';
import type { Segment } from './segment.js';
import type { Region } from './segment-set.js';

/**
 * Received body of an upload. `memory`: the committer writes it to a segment. `inline`: the committer writes it to the
 * index. `region`: it has already been written to a segment.
 */
export type ReceivedBody =
  | { readonly kind: 'memory'; readonly chunks: readonly Uint8Array[] }
  | { readonly kind: 'inline'; readonly bytes: Uint8Array }
  | { readonly kind: 'region'; readonly region: Region };

export interface PutOperation {
  readonly kind: 'put';
  readonly key: string;
  readonly length: number;
  readonly time: number;
  readonly digest: Uint8Array;
  readonly body: ReceivedBody;
  readonly metadata?: Uint8Array | undefined;
  /** Applies the operation only if the body of `key` is still here. Set by compaction. */
  readonly expectedLocation?: Location | undefined;
  /** Applies the operation only if the key has no entry. */
  readonly ifAbsent?: boolean | undefined;
  /** Called by the committer when the bytes of a `memory` body count as part of a segment. */
  readonly onReserved?: (() => void) | undefined;
  /**
   * Signal of the upload. It is checked immediately before the commit, so that an aborted upload never becomes visible.
   */
  readonly signal?: AbortSignal | undefined;
}

export interface DeleteOperation {
  readonly kind: 'delete';
  readonly key: string;
  /** Applies the operation only if the body of `key` is still here. Set by compaction. */
  readonly expectedLocation?: Location | undefined;
  /** Applies the operation only to an entry for which this returns true. It is called when the deletion is committed. */
  readonly condition?: ((entry: IndexEntry) => boolean) | undefined;
}

/** Removes the row of a segment from the index. The index entries of the segment must have been removed before. */
export interface DropSegmentOperation {
  readonly kind: 'drop-segment';
  readonly segment: Segment;
}

/** Stores last uses of artifacts, in minutes since 1970. Skips keys without an artifact. */
export interface RecordUsesOperation {
  readonly kind: 'record-uses';
  readonly uses: readonly (readonly [key: string, minute: number])[];
}

export type Operation = PutOperation | DeleteOperation | DropSegmentOperation | RecordUsesOperation;

export interface Outcome {
  /** Whether the key had an entry before the operation. */
  readonly existed: boolean;
  /** Whether the operation took effect. */
  readonly isApplied: boolean;
}
