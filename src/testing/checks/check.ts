import type { Capabilities } from '../options.js';
import type { Subject } from '../subject.js';

/** Test of one rule of the store contract. */
export interface Check {
  readonly title: string;
  /** Whether the rule applies to a store with these capabilities. Default: true. */
  readonly applies?: (capabilities: Capabilities) => boolean;
  /** Rejects if the store breaks the rule. The store is empty, and no other check uses it. */
  run(subject: Subject): Promise<void>;
}

export const ifWritable = (capabilities: Capabilities): boolean => capabilities.writable;

export const ifDeletable = (capabilities: Capabilities): boolean => capabilities.writable && capabilities.deletable;
