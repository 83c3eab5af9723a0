import type { SenderOptions } from '../../src/handler/options.js';
import { SOURCE_OVERRIDES, type SourceOverrides } from '../../src/handler/source-overrides.js';

/** Options of a handler or sender, with restrictions of its sources that the package does not offer. */
export type TestOptions<T extends SenderOptions> = T & SourceOverrides;

/** Returns options for the package: the restrictions are put where only tests can put them. */
export function withSources<T extends SenderOptions>({ only, bindings, ...options }: TestOptions<T>): T {
  // The rest of T & SourceOverrides without the fields of SourceOverrides is T.
  return { ...options, [SOURCE_OVERRIDES]: { only, bindings } } as unknown as T;
}
