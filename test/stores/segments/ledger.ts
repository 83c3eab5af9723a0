export interface Acknowledged {
  readonly seed: number;
  readonly length: number;
}

/**
 * Operations that child processes have reported, one on a line:
 *   opened | intent KEY | put KEY SEED LENGTH | deleted KEY
 */
export class Ledger {
  /** Acknowledged uploads of keys with a single writer; `undefined` after an acknowledged delete. */
  readonly own = new Map<string, Acknowledged | undefined>();
  /** Seeds of acknowledged uploads of keys with several writers. */
  readonly shared = new Map<string, number>();
  /** Keys with an operation that was started and not acknowledged. */
  readonly unacknowledged = new Set<string>();
  /** Number of children that opened the store. */
  opened = 0;

  record(line: string): void {
    const [word, key = '', seed, length] = line.split(' ');
    if (word === 'opened') this.opened++;
    if (word === 'intent') this.unacknowledged.add(key);
    if (word === 'deleted') {
      this.own.set(key, undefined);
      this.unacknowledged.delete(key);
    }
    if (word !== 'put') return;
    this.unacknowledged.delete(key);
    if (key.startsWith('shared/')) this.shared.set(key, Number(seed));
    else this.own.set(key, { seed: Number(seed), length: Number(length) });
  }
}
