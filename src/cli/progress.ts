import { drawBar, isTerminal, type Stream } from './terminal.js';

const INTERVAL_MS = 100;
const BAR_COLUMNS = 20;
const ERASE_LINE = '\r\u001b[K';

/** Progress line on a terminal. If `stream` is not a terminal, it prints nothing. */
export class Progress {
  readonly #stream: Stream | undefined;
  #shownAt = Number.NEGATIVE_INFINITY;
  #isShown = false;

  constructor(stream: Stream = process.stderr) {
    this.#stream = isTerminal(stream) ? stream : undefined;
  }

  /**
   * Shows `text`. Calls within 100 ms of the last shown line are ignored.
   *
   * @param fraction completed part from 0 to 1, drawn as a bar
   */
  show(text: () => string, fraction?: number): void {
    if (this.#stream === undefined || performance.now() - this.#shownAt < INTERVAL_MS) return;
    this.#shownAt = performance.now();
    this.#isShown = true;
    const line = fraction === undefined ? text() : `${barOf(fraction)} ${text()}`;
    // ERASE_LINE erases one row: a line that wraps would leave its first row behind.
    this.#stream.write(`${ERASE_LINE}${line.slice(0, Math.max(0, (this.#stream.columns || 80) - 1))}`);
  }

  /** Erases the line. The next call of `show` is not throttled. */
  clear(): void {
    if (this.#isShown) this.#stream?.write(ERASE_LINE);
    this.#isShown = false;
    this.#shownAt = Number.NEGATIVE_INFINITY;
  }
}

function barOf(fraction: number): string {
  const { full, empty } = drawBar(Math.min(1, fraction), BAR_COLUMNS);
  return full + empty;
}
