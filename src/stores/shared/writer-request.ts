import type { ArtifactFilter } from '../../contract/purge.js';
import type { PutOptions } from '../../contract/store.js';

/** Request of a reader. */
export type WriterRequest =
  | { readonly kind: 'attach' }
  | { readonly kind: 'delete'; readonly key: string }
  /** Looks up an artifact that the reader has found to be corrupt. If it is, the store of the writer removes it. */
  | { readonly kind: 'check'; readonly key: string }
  | {
      readonly kind: 'purge';
      readonly filter: ArtifactFilter;
      /** Time in milliseconds since 1970. */
      readonly usedBefore?: number | undefined;
      readonly dryRun?: boolean | undefined;
    }
  | {
      readonly kind: 'put';
      readonly key: string;
      /** Size of the body in bytes, a non-negative integer. */
      readonly size?: number | undefined;
      readonly metadata?: PutOptions['metadata'];
      readonly ifAbsent?: boolean | undefined;
    };
