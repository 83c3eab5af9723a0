import { HotblobError } from '../contract/errors.js';

/** Limits on the time that an upload may take. */
export interface UploadPace {
  readonly uploadTimeoutMs: number;
  readonly minUploadBytesPerSecond: number;
}

/**
 * Yields the chunks of a request body. Throws if the client sends them too slowly: the time budget is `uploadTimeoutMs`. It
 * decreases while the client is waited for, but not while the store does not ask for more. Each byte adds
 * 1/`minUploadBytesPerSecond` seconds, up to `uploadTimeoutMs`.
 *
 * @throws HotblobError `ERR_HOTBLOB_UPLOAD_TIMEOUT`
 */
export async function* paced(chunks: AsyncIterable<Uint8Array>, pace: UploadPace): AsyncGenerator<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  const wait = new ClientWait(pace);
  try {
    for (;;) {
      const next = await wait.until(iterator.next());
      if (next.done) return;
      wait.credit(next.value.byteLength);
      yield next.value;
    }
  } finally {
    wait.end();
    const returned = iterator.return?.();
    // After a timeout, it waits for the pending next().
    if (wait.hasExpired) returned?.catch(ignore);
    else await returned;
  }
}

/** Time that the client of one upload has left. */
class ClientWait {
  hasExpired = false;
  readonly #pace: UploadPace;
  #leftMs: number;
  /** Time at which the current wait began. `undefined` if there is none. */
  #since: number | undefined;
  #received = 0;
  #expire: (error: HotblobError) => void = ignore;
  #timer: NodeJS.Timeout | undefined;

  constructor(pace: UploadPace) {
    this.#pace = pace;
    this.#leftMs = pace.uploadTimeoutMs;
    this.#arm(this.#leftMs);
  }

  /** Settles like `next`, or rejects when no time is left. */
  async until<T>(next: Promise<T>): Promise<T> {
    this.#since = performance.now();
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#expire = reject;
        next.then(resolve, reject);
      });
    } finally {
      this.#leftMs = Math.max(0, this.#left());
      this.#since = undefined;
    }
  }

  credit(bytes: number): void {
    const { uploadTimeoutMs, minUploadBytesPerSecond } = this.#pace;
    this.#received += bytes;
    this.#leftMs = Math.min(uploadTimeoutMs, this.#leftMs + (bytes / minUploadBytesPerSecond) * 1000);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #left(): number {
    return this.#since === undefined ? this.#leftMs : this.#leftMs - (performance.now() - this.#since);
  }

  // One timer for all waits: a timer for each chunk would cost more.
  #arm(ms: number): void {
    // After the timer, bytes that arrived while the event loop was blocked are read first.
    this.#timer = setTimeout(() => setImmediate(() => this.#check()), ms).unref();
  }

  #check(): void {
    if (this.#timer === undefined) return;
    const left = this.#left();
    if (this.#since === undefined || left > 0) {
      this.#arm(Math.max(1, Math.ceil(left)));
      return;
    }
    this.hasExpired = true;
    const { uploadTimeoutMs, minUploadBytesPerSecond } = this.#pace;
    const message = `upload: expected at least ${minUploadBytesPerSecond} bytes per second after ${uploadTimeoutMs} ms, received ${this.#received} bytes so far (uploadTimeoutMs, minUploadBytesPerSecond)`;
    this.#expire(new HotblobError('ERR_HOTBLOB_UPLOAD_TIMEOUT', message));
  }
}

function ignore(): void {}
