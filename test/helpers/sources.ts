import type { SenderOptions } from '../../src/handler/options.js';
import { SOURCE_OVERRIDES, type SourceOverrides } from '../../src/handler/source-overrides.js';

/** Options of a handler or sender, with internal options that restrict its sources. */
export type TestOptions<T extends SenderOptions> = T & SourceOverrides;

/** Returns options with the restrictions under an internal symbol. */
export function withSources<T extends SenderOptions>({ only, bindings, ...options }: TestOptions<T>): T {
  // The rest of T & SourceOverrides without the fields of SourceOverrides is T.
  return { ...options, [SOURCE_OVERRIDES]: { only, bindings } } as unknown as T;
}
