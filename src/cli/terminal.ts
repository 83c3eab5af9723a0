const CODES = { green: 32, yellow: 33, red: 31, dim: 2 } as const;

/** Style of text on a terminal with colours. */
export type Style = keyof typeof CODES;

/**
 * Returns a function that wraps text in the escape sequences of a style. If `stream` is not a terminal with colours,
 * the function returns the text unchanged. The environment variables `NO_COLOR`, `FORCE_COLOR` and `TERM` are
 * respected.
 */
export function createPainter(stream: Stream): (style: Style, text: string) => string {
  if (!isTerminal(stream) || !stream.hasColors()) return (_style, text) => text;
  return (style, text) => `\u001b[${CODES[style]}m${text}\u001b[0m`;
}

/** Standard stream of this process. It may be a terminal. */
export type Stream = NodeJS.WriteStream;

export function isTerminal(stream: Stream): boolean {
  return stream.isTTY === true;
}

/**
 * Draws a fraction from 0 to 1 as a bar with a resolution of an eighth of a column. Only 0 is drawn as empty and only 1 as full.
 */
export function drawBar(fraction: number, columns: number): { readonly full: string; readonly empty: string } {
  const eighths = columns * 8;
  let filled = Math.round(fraction * eighths);
  if (filled === 0 && fraction > 0) filled = 1;
  if (filled === eighths && fraction < 1) filled--;
  const part = filled % 8;
  const full = '█'.repeat(Math.floor(filled / 8)) + (part === 0 ? '' : (EIGHTHS[part - 1] ?? ''));
  return { full, empty: '·'.repeat(columns - Math.ceil(filled / 8)) };
}

const EIGHTHS = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'] as const;
