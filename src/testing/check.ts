import type { Capabilities } from './options.js';
import type { Subject } from './subject.js';

/** One promise of the contract, and how it is looked at. */
export interface Check {
  readonly title: string;
  /** Which stores make this promise. Default: all. */
  readonly applies?: (capabilities: Capabilities) => boolean;
  /** Rejects where the store breaks it. The store is empty, and nobody else uses it. */
  run(subject: Subject): Promise<void>;
}

export const ifWritable = (capabilities: Capabilities): boolean => capabilities.writable;

export const ifDeletable = (capabilities: Capabilities): boolean => capabilities.writable && capabilities.deletable;
