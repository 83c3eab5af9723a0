import { writeSync } from 'node:fs';

/** Reports a step to the parent. Synchronous: the line reaches the parent even if the process is killed immediately afterwards. */
export function report(line: string): void {
  writeSync(1, `${line}\n`);
}

/** Returns the length of an artifact: mostly small, sometimes inline, rarely large. */
export function randomLength(random: () => number): number {
  const kind = random();
  if (kind < 0.3) return Math.floor(random() * 300);
  if (kind < 0.9) return Math.floor(random() * 20_000);
  return 250_000 + Math.floor(random() * 50_000);
}
