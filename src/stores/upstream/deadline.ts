/** Timer that can be set repeatedly; each call of `set` replaces the previous one. */
export class Deadline {
  readonly #onExpire: (expectation: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;

  /** @param onExpire receives what did not happen in time, such as `connection within 5000 ms (connectTimeoutMs)` */
  constructor(onExpire: (expectation: string) => void) {
    this.#onExpire = onExpire;
  }

  /**
   * @param option name of the option that sets the time
   * @param event what has to happen within `ms`, as a noun
   */
  set(option: string, ms: number, event: string): void {
    this.clear();
    this.#timer = setTimeout(() => {
      // After a long turn of the event loop, Node runs timers before it reads from sockets. The response may be there.
      this.#immediate = setImmediate(() => this.#onExpire(`${event} within ${ms} ms (${option})`));
    }, ms);
  }

  clear(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
  }
}
