import * as crypto from 'node:crypto';

const SHARDS = 256;
const INITIAL_CAPACITY = 8;
const MAX_LOAD = 0.6;

/** First 64 bits of the SHA-256 of a text. Accidental collisions are practically impossible. */
export interface Fingerprint {
  readonly high: number;
  readonly low: number;
}

/** Returns the fingerprint of a text. */
export function fingerprintOf(text: string): Fingerprint {
  return fingerprintIn(sha256(text));
}

/** Returns the fingerprint of a text from its SHA-256 in hexadecimal digits, of which at least 16 must be given. */
export function fingerprintIn(hex: string): Fingerprint {
  return { high: Number.parseInt(hex.slice(0, 8), 16), low: Number.parseInt(hex.slice(8, 16), 16) };
}

// crypto.hash() of Node 20.12 takes a third of the time.
const sha256: (text: string) => string =
  typeof crypto.hash === 'function'
    ? (text) => crypto.hash('sha256', text)
    : (text) => crypto.createHash('sha256').update(text).digest('hex');

/** Map from fingerprints to numbers from 1 to 2^32 - 1. An entry takes 20 to 40 bytes, much less than in a `Map`. */
export class FingerprintTable {
  /** Entries by the first byte of their fingerprints. A single table would block the event loop for 0.1 s when it grows. */
  readonly #shards = Array.from({ length: SHARDS }, () => new Shard());

  get size(): number {
    return this.#shards.reduce((sum, { size }) => sum + size, 0);
  }

  get({ high, low }: Fingerprint): number | undefined {
    return this.#shardOf(high).get(high, low);
  }

  set({ high, low }: Fingerprint, value: number): void {
    this.#shardOf(high).set(high, low, value);
  }

  /** Iterates over the entries. Entries that are set meanwhile may be missing. */
  *[Symbol.iterator](): Generator<[Fingerprint, number]> {
    for (const shard of this.#shards) yield* shard.entries();
  }

  #shardOf(high: number): Shard {
    return this.#shards[high >>> 24] as Shard; // there is a shard for each byte
  }
}

/** Hash table with open addressing. */
class Shard {
  size = 0;
  #highs = new Uint32Array(INITIAL_CAPACITY);
  #lows = new Uint32Array(INITIAL_CAPACITY);
  /** 0 marks a free slot. */
  #values = new Uint32Array(INITIAL_CAPACITY);

  get(high: number, low: number): number | undefined {
    return this.#values[this.#slotOf(high, low)] || undefined;
  }

  set(high: number, low: number, value: number): void {
    const slot = this.#slotOf(high, low);
    if (this.#values[slot] === 0) this.size++;
    this.#highs[slot] = high;
    this.#lows[slot] = low;
    this.#values[slot] = value;
    if (this.size > this.#values.length * MAX_LOAD) this.#grow();
  }

  entries(): [Fingerprint, number][] {
    const entries: [Fingerprint, number][] = [];
    for (let slot = 0; slot < this.#values.length; slot++) {
      const [high = 0, low = 0, value = 0] = [this.#highs[slot], this.#lows[slot], this.#values[slot]];
      if (value !== 0) entries.push([{ high, low }, value]);
    }
    return entries;
  }

  /** Returns the slot of a fingerprint, or the free slot for it. */
  #slotOf(high: number, low: number): number {
    const mask = this.#values.length - 1;
    let slot = low & mask;
    while (this.#values[slot] !== 0 && (this.#highs[slot] !== high || this.#lows[slot] !== low))
      slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const [highs, lows, values] = [this.#highs, this.#lows, this.#values];
    this.#highs = new Uint32Array(values.length * 2);
    this.#lows = new Uint32Array(values.length * 2);
    this.#values = new Uint32Array(values.length * 2);
    this.size = 0;
    for (let slot = 0; slot < values.length; slot++) {
      const value = values[slot] ?? 0;
      if (value !== 0) this.set(highs[slot] ?? 0, lows[slot] ?? 0, value);
    }
  }
}
