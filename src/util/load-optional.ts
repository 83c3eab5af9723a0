import { createRequire } from 'node:module';

const requirePackage = createRequire(import.meta.url);

/** A module, or why there is none: it is not installed, or it does not load on this machine. */
export type Loading = { readonly module: unknown } | { readonly failure: 'absent' | Error };

/** Loads an optional dependency. Never throws. */
export function tryToLoad(name: string): Loading {
  try {
    return { module: requirePackage(name) };
  } catch (error) {
    const cause = error instanceof Error ? error : new Error(String(error));
    // A module that is there may lack one of its own.
    const isAbsent = 'code' in cause && cause.code === 'MODULE_NOT_FOUND' && cause.message.includes(`'${name}'`);
    return { failure: isAbsent ? 'absent' : cause };
  }
}

/** An optional dependency, or undefined where it is absent or does not load on this machine. */
export function loadOptional(name: string): unknown {
  const loading = tryToLoad(name);
  return 'module' in loading ? loading.module : undefined;
}
