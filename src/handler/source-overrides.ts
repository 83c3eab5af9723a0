import type { BindingChoice } from '../page-cache/bindings.js';

/** Restricts the sources of files. */
export interface SourceOverrides {
  /** Source to use as far as possible; reads do the rest. Default: all. */
  readonly only?: 'mapped' | 'copied' | 'read' | undefined;
  /** Bindings to use. Default: all that load. */
  readonly bindings?: BindingChoice | undefined;
}

/**
 * Key under which tests put {@link SourceOverrides} into the options of a handler or sender. The package does not export it. A
 * symbol, because it survives an object spread and is no option name.
 */
export const SOURCE_OVERRIDES = Symbol('hotblob source overrides');

/** Returns the overrides in `options`. */
export function sourceOverridesOf(options: object): SourceOverrides {
  const { [SOURCE_OVERRIDES]: overrides = {} }: { readonly [SOURCE_OVERRIDES]?: SourceOverrides } = options;
  return overrides;
}
