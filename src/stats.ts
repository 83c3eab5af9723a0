import type { Count, SourceName, Totals, UnmappedReason } from './send/tally.js';

/** What a handler has done since its start, and what is in use now. */
export interface HandlerStats {
  /** Responses by status. */
  readonly responses: Readonly<Record<number, number>>;
  /** Windows and bytes that have left the process, by source. */
  readonly sent: Readonly<Record<SourceName, Readonly<Count>>>;
  /** Why responses, or single windows of them, were not mapped. */
  readonly unmapped: Readonly<Partial<Record<UnmappedReason, number>>>;
  /** The binding that maps; undefined where nothing is mapped. */
  readonly mapper: 'mmap-io' | 'libc' | undefined;
  /** Whether bytes are copied from the page cache without waiting for a disk (preadv2 with RWF_NOWAIT). */
  readonly copiesResident: boolean;
  /** Descriptors open, or about to be. */
  readonly openFiles: number;
  /** Mappings alive. */
  readonly mappings: number;
  /** Bytes of mappings that are being sent. */
  readonly mappedBytes: number;
  /** Bytes of buffers that are being filled or sent. */
  readonly pooledBytes: number;
  /** How short memory is now. */
  readonly pressure: 'normal' | 'constrained' | 'critical';
}

/** The counters of one handler. */
export class Stats implements Totals {
  readonly sent = { bytes: none(), mapped: none(), copied: none(), read: none(), stream: none() };
  readonly unmapped = new Map<UnmappedReason, number>();
  readonly #responses = new Map<number, number>();

  answered(status: number): void {
    this.#responses.set(status, (this.#responses.get(status) ?? 0) + 1);
  }

  snapshot(): Pick<HandlerStats, 'responses' | 'sent' | 'unmapped'> {
    return {
      responses: Object.fromEntries(this.#responses),
      sent: structuredClone(this.sent),
      unmapped: Object.fromEntries(this.unmapped),
    };
  }
}

function none(): Count {
  return { windows: 0, bytes: 0 };
}
