/** Timeout of one step after another: each call of `set` replaces the previous timeout. */
export class Deadline {
  readonly #onExpire: (expectation: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;

  /**
   * @param onExpire receives a description of the missing event, such as `connection within 5000 ms (connectTimeoutMs)`
   */
  constructor(onExpire: (expectation: string) => void) {
    this.#onExpire = onExpire;
  }

  /**
   * @param option name of the option that determines `ms`
   * @param event event that has to happen within `ms`, as a noun
   */
  set(option: string, ms: number, event: string): void {
    this.clear();
    this.#timer = setTimeout(() => {
      // After a long turn of the event loop, Node runs timers before it reads from sockets. The response may have
      // arrived already, so the error waits until the sockets have been read.
      this.#immediate = setImmediate(() => this.#onExpire(`${event} within ${ms} ms (${option})`));
    }, ms);
  }

  clear(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
  }
}
