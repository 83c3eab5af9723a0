import type { BindingChoice } from '../page-cache/bindings.js';

/** Restrictions of the sources of files, for tests. */
export interface SourceOverrides {
  /** The only source that may be used. A window that this source cannot provide is read. Default: all sources. */
  readonly only?: 'mapped' | 'copied' | 'read' | undefined;
  /** Bindings that may be used. Default: all. */
  readonly bindings?: BindingChoice | undefined;
}

/**
 * Key of {@link SourceOverrides} in the options of a handler or sender. The package does not export it. A symbol is
 * copied by an object spread and is not checked as an option name.
 */
export const SOURCE_OVERRIDES = Symbol('hotblob source overrides');

/** Returns the overrides in `options`. */
export function sourceOverridesOf(options: object): SourceOverrides {
  const { [SOURCE_OVERRIDES]: overrides = {} }: { readonly [SOURCE_OVERRIDES]?: SourceOverrides } = options;
  return overrides;
}
