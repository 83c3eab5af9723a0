import { createRequire } from 'node:module';

// The variable is not named `require`, because the CommonJS build declares that name itself.
const requirePackage = createRequire(import.meta.url);

/** Loaded module, or the reason why it could not be loaded: `absent` if it is not installed, otherwise the error. */
export type LoadResult = { readonly module: unknown } | { readonly failure: 'absent' | Error };

/** Loads an optional dependency and reports why it is unavailable. Never throws. */
export function tryToLoad(name: string): LoadResult {
  try {
    return { module: requirePackage(name) };
  } catch (error) {
    const cause = error instanceof Error ? error : new Error(String(error));
    // The code alone is not enough: an installed module fails with the same code if one of its dependencies is missing.
    const isAbsent = 'code' in cause && cause.code === 'MODULE_NOT_FOUND' && cause.message.includes(`'${name}'`);
    return { failure: isAbsent ? 'absent' : cause };
  }
}

/** Loads an optional dependency. Returns undefined if it is not installed or cannot be loaded on this machine. */
export function loadOptional(name: string): unknown {
  const result = tryToLoad(name);
  return 'module' in result ? result.module : undefined;
}
