import { ChangingFile, type FileContent } from './changing-file.js';

/** Minimum time between two checks of the file. */
const CHECK_INTERVAL_MS = 1000;

/**
 * Default of `maxStaleMs`: ten minutes. That is enough time to repair the file, and what is revoked in it does not remain
 * valid for long.
 */
export const DEFAULT_MAX_STALE_MS = 600_000;

/** Settings of a {@link PolicyFile}. */
export interface PolicyFileSettings<Value> {
  /** Returns the value of a new content, or throws an error about it. Not called if the file has not changed. */
  readonly parse: (content: FileContent) => Value;
  /** Value before the first load, and once the last valid value has expired. */
  readonly none: Value;
  /** Time for which the last valid value is kept once the file is missing or invalid. */
  readonly maxStaleMs: number;
  /** What the file contains, and what the file is called, in messages. */
  readonly terms: { readonly content: string; readonly file: string };
  readonly warn: (line: string) => void;
  /** Time of a monotonic clock in milliseconds. */
  readonly now: () => number;
}

/**
 * Value that is parsed from a file, and parsed again when the file has changed. Requests cause the checks, so there is no timer and
 * no watcher, and nothing to close.
 */
export class PolicyFile<Value> {
  readonly #path: string;
  readonly #file: ChangingFile;
  readonly #settings: PolicyFileSettings<Value>;
  #value: Value;
  #checkedAt = 0;
  #checking: Promise<void> | undefined;
  /** Error of the file, and the time since when every check has failed; undefined if the last check succeeded. */
  #failure: { readonly message: string; readonly since: number } | undefined;

  constructor(path: string, settings: PolicyFileSettings<Value>) {
    this.#path = path;
    this.#file = new ChangingFile(path);
    this.#settings = settings;
    this.#value = settings.none;
  }

  /** Value of the last check. */
  get value(): Value {
    return this.#value;
  }

  /** Starts a check if the last one is at least a second old. Returns a promise if a request must wait for a check. */
  check(): Promise<void> | undefined {
    if (this.#checking !== undefined) return this.#checking;
    if (this.#settings.now() - this.#checkedAt < CHECK_INTERVAL_MS) return undefined;
    this.#checking = this.#check();
    return this.#checking;
  }

  /** Checks the file after the check in flight, if any, which may have read the file before its last change. */
  async reload(): Promise<void> {
    await this.#checking;
    this.#checking ??= this.#check();
    await this.#checking;
  }

  /**
   * Parses the file if it has changed.
   *
   * @throws HotblobError if the file cannot be read
   * @throws the error of `parse`. The previous value is kept
   */
  async load(): Promise<void> {
    // The time is set before the read, so that the next check finds a change that happens during the read.
    this.#checkedAt = this.#settings.now();
    const content = await this.#file.readIfChanged();
    if (content === undefined) return;
    this.#value = this.#settings.parse(content);
    this.#failure = undefined;
  }

  /** Checks the file. Never rejects, because all concurrent requests wait for it. */
  async #check(): Promise<void> {
    try {
      await this.load();
    } catch (error) {
      this.#recordFailure(error);
    }
    this.#expire();
    this.#checking = undefined;
  }

  #recordFailure(error: unknown): void {
    const { maxStaleMs, now, terms, warn } = this.#settings;
    const message = error instanceof Error ? error.message : String(error);
    const before = this.#failure;
    this.#failure = { message, since: before?.since ?? now() };
    if (message === before?.message) return;
    warn(
      `${message}: the last valid ${terms.content} are accepted for ${maxStaleMs} ms after the file first failed to load`,
    );
  }

  #expire(): void {
    const { maxStaleMs, none, now, terms, warn } = this.#settings;
    if (this.#failure === undefined || this.#value === none || now() - this.#failure.since < maxStaleMs) return;
    this.#value = none;
    warn(
      `${this.#path}: no valid ${terms.file} for ${maxStaleMs} ms (maxStaleMs): all tokens rejected until it is valid again`,
    );
  }
}
