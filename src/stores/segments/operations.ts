import type { Place } from './entry.js';
import type { Segment } from './segment.js';
import type { Region } from './segment-set.js';

/** A body that has been received: to be written, in the index alone, or in its segment already. */
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
  /** Only if this is still where the key's body is: for a copy. */
  readonly movedFrom?: Place | undefined;
  /** Called once the body's bytes are counted in a segment; never for an inline one. */
  readonly onReserved?: (() => void) | undefined;
  /** Asked last, before anything of it can be seen. */
  readonly signal?: AbortSignal | undefined;
}

export interface RemoveOperation {
  readonly kind: 'remove';
  readonly key: string;
  /** Only if this is still where the key's body is. */
  readonly onlyAt?: Place | undefined;
}

/** Takes a segment out of the index, after all that it held. */
export interface ForgetOperation {
  readonly kind: 'forget';
  readonly segment: Segment;
}

export type Operation = PutOperation | RemoveOperation | ForgetOperation;

/** Whether there was an entry before, and whether the operation was carried out. */
export interface Outcome {
  readonly existed: boolean;
  readonly isDone: boolean;
}
