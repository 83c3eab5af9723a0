/** One timer that is set again and again. */
export class Deadline {
  readonly #onExpire: (waitedFor: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #turn: NodeJS.Immediate | undefined;

  /** `onExpire` is told what was waited for. */
  constructor(onExpire: (waitedFor: string) => void) {
    this.#onExpire = onExpire;
  }

  /** Expires after `ms`, in the place of whatever was set before. */
  set(ms: number, waitedFor: string): void {
    this.clear();
    this.#timer = setTimeout(() => {
      // After a long turn of the event loop timers come before what the sockets have received meanwhile.
      this.#turn = setImmediate(() => this.#onExpire(`${waitedFor} within ${ms} ms`));
    }, ms);
  }

  clear(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#turn);
  }
}
