import type { ExecutionContext } from 'ava';

/** Collects the warnings of the package that the process emits until the test ends. */
export function collectWarnings(t: ExecutionContext): string[] {
  const warnings: string[] = [];
  const collect = ({ name, message }: Error): void => {
    if (name === 'HotblobWarning') warnings.push(message);
  };
  process.on('warning', collect);
  t.teardown(() => process.off('warning', collect));
  return warnings;
}
