import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** An optional dependency, or undefined where it is absent or does not load on this machine. */
export function loadOptional(name: string): unknown {
  try {
    return require(name);
  } catch {
    return undefined;
  }
}
