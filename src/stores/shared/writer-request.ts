import type { PutOptions } from '../../contract/store.js';

/** Request of a reader. */
export type WriterRequest =
  | { readonly kind: 'attach' }
  | { readonly kind: 'delete'; readonly key: string }
  | {
      readonly kind: 'put';
      readonly key: string;
      /** Size of the body in bytes, a non-negative integer. */
      readonly size?: number | undefined;
      readonly metadata?: PutOptions['metadata'];
      readonly ifAbsent?: boolean | undefined;
    };
