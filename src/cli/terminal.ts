const CODES = { green: 32, yellow: 33, red: 31, dim: 2 } as const;

/** What text may look like where colours are shown. */
export type Style = keyof typeof CODES;

/** Text in a style where `stream` is a terminal that shows colours; `NO_COLOR`, `FORCE_COLOR` and `TERM` have their say. */
export function painter(stream: Stream): (style: Style, text: string) => string {
  if (!isTerminal(stream) || !stream.hasColors()) return (_style, text) => text;
  return (style, text) => `\u001b[${CODES[style]}m${text}\u001b[0m`;
}

/** A stream of this process, which may be a terminal. */
export type Stream = NodeJS.WriteStream;

/** Whether somebody looks at it. */
export function isTerminal(stream: Stream): boolean {
  return stream.isTTY === true;
}

/** Without control characters, which would be orders to a terminal: they stand there as `\x1b`. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it replaces
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}

/** A share from 0 to 1 as a bar, to an eighth of a column. What is there at all, or absent at all, is to be seen. */
export function bar(share: number, columns: number): { readonly full: string; readonly empty: string } {
  const eighths = columns * 8;
  let filled = Math.round(share * eighths);
  if (filled === 0 && share > 0) filled = 1;
  if (filled === eighths && share < 1) filled--;
  const part = filled % 8;
  const full = '█'.repeat(Math.floor(filled / 8)) + (part === 0 ? '' : (EIGHTHS[part - 1] ?? ''));
  return { full, empty: '·'.repeat(columns - Math.ceil(filled / 8)) };
}

const EIGHTHS = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'] as const;
