import { bar, isTerminal, type Stream } from './terminal.js';

const INTERVAL_MS = 100;
const BAR_COLUMNS = 20;
const ERASE_LINE = '\r\u001b[K';

/** A line on a terminal that tells how far something is; nothing where `stream` is no terminal. */
export class Progress {
  readonly #stream: Stream | undefined;
  #shownAt = Number.NEGATIVE_INFINITY;
  #isShown = false;

  constructor(stream: Stream = process.stderr) {
    this.#stream = isTerminal(stream) ? stream : undefined;
  }

  /**
   * Shows `text`, at most ten times a second.
   *
   * @param share how much is done, from 0 to 1; without it there is no bar
   */
  show(text: () => string, share?: number): void {
    if (this.#stream === undefined || performance.now() - this.#shownAt < INTERVAL_MS) return;
    this.#shownAt = performance.now();
    this.#isShown = true;
    const line = share === undefined ? text() : `${barOf(share)} ${text()}`;
    // A line that wraps could not be erased.
    this.#stream.write(`${ERASE_LINE}${line.slice(0, Math.max(0, (this.#stream.columns || 80) - 1))}`);
  }

  /** Takes the line away; the next one is shown at once. */
  clear(): void {
    if (this.#isShown) this.#stream?.write(ERASE_LINE);
    this.#isShown = false;
    this.#shownAt = Number.NEGATIVE_INFINITY;
  }
}

function barOf(share: number): string {
  const { full, empty } = bar(Math.min(1, share), BAR_COLUMNS);
  return full + empty;
}
