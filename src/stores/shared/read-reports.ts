/** Interval at which reads are reported, in milliseconds. */
const INTERVAL_MS = 1000;
/** Number of keys at which they are reported without waiting for the interval. */
const MAX_KEYS = 1000;

/** Collects the keys that this process reads, so that the writer considers them for eviction. A report contains each key once. */
export class ReadReports {
  readonly #send: (keys: readonly string[]) => void;
  readonly #keys = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(send: (keys: readonly string[]) => void) {
    this.#send = send;
  }

  add(key: string): void {
    this.#keys.add(key);
    if (this.#keys.size >= MAX_KEYS) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), INTERVAL_MS).unref();
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#keys.size > 0) this.#send([...this.#keys]);
    this.#keys.clear();
  }
}
