import { createHash } from 'node:crypto';
import type { RetentionGroup, RetentionRules } from '../retention/rules.js';
import type { Segment } from './segment.js';
import { Usage } from './usage.js';

/** Minimum number of segments that fit into the limit of a group, so that the eviction of one does not empty the group. */
const MIN_SEGMENTS = 8;
/** Maximum number of segments of a group that accept bodies: without and with several groups. Each is an open file. */
const MAX_WRITABLE = { single: 4, several: 2 };
/** Length of a stored group in hexadecimal digits. */
const FINGERPRINT_DIGITS = 16;

/** Artifacts with common limits. Their bodies are in segments of their own, so that evicting a segment affects no other group. */
export interface SegmentGroup {
  readonly limits: RetentionGroup;
  /** Size at which a segment is full. */
  readonly segmentBytes: number;
  readonly maxWritable: number;
  readonly usage: Usage;
  /**
   * Identifies, in the index, the artifacts that the group consists of. It depends on the filters of its rule and of the rules before
   * it. Undefined without rules: then all artifacts belong to one group.
   */
  readonly fingerprint: string | undefined;
  /** Segments that accept bodies, oldest first. */
  writable: Segment[];
  /** Bytes that are reserved but not yet part of a segment. */
  reserved: number;
}

/** The groups of a segment store. */
export class SegmentGroups {
  readonly all: readonly SegmentGroup[];
  readonly rules: RetentionRules;
  /** Whether the store evicts artifacts. */
  readonly mayEvict: boolean;

  /** @param maxBytes limit of the store */
  constructor(rules: RetentionRules, maxBytes: number, segmentBytes: number) {
    this.rules = rules;
    const { groups, filters } = rules;
    const isSingle = groups.length === 1;
    this.all = groups.map((limits) => ({
      limits,
      segmentBytes: Math.ceil(Math.min(segmentBytes, limits.maxBytes / MIN_SEGMENTS)),
      maxWritable: isSingle ? MAX_WRITABLE.single : MAX_WRITABLE.several,
      // An artifact no longer counts as recently read when as many bytes as fit (two half-lives) have been used since.
      usage: new Usage(Math.min(maxBytes, limits.maxBytes) / 2, groups.length),
      fingerprint: isSingle
        ? undefined
        : fingerprintOf(filters.slice(0, limits.index || undefined), limits.index === 0),
      writable: [],
      reserved: 0,
    }));
    this.mayEvict = maxBytes !== Number.POSITIVE_INFINITY || groups.some(({ isProtected }) => isProtected);
  }

  /** Returns the group of a key. */
  of(key: string): SegmentGroup {
    return this.all[this.rules.groupOf(key).index] as SegmentGroup; // there is a group for each of the rules
  }

  /** Group of the artifacts of no rule. */
  get rest(): SegmentGroup {
    return this.all[0] as SegmentGroup; // there always is one
  }

  /** Returns the group with a fingerprint; undefined if the rules were others when it was stored. */
  stored(fingerprint: string | undefined): SegmentGroup | undefined {
    return this.all.find((group) => group.fingerprint === fingerprint);
  }
}

function fingerprintOf(filters: readonly object[], isRest: boolean): string {
  return createHash('sha256')
    .update(JSON.stringify([filters, isRest]))
    .digest('hex')
    .slice(0, FINGERPRINT_DIGITS);
}
