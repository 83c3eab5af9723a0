/**
 * Controls (C0, DEL, C1), format characters (bidirectional overrides, zero-width characters, tags), line and paragraph
 * separators, and lone surrogates.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const UNPRINTABLE_IN_LINES = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/**
 * Returns `text` for a log line, a terminal or a page. Characters that a terminal interprets, that are invisible, or that change
 * the order of others are replaced by escape sequences such as `\x1b` and `\u202e`.
 *
 * Use it for everything that a client or another server has chosen: keys, paths, headers, messages.
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escapeCharacter);
}

/** Like {@link printable}, but keeps line feeds. */
export function printableLines(text: string): string {
  return text.replace(UNPRINTABLE_IN_LINES, escapeCharacter);
}

/** Returns a value as JSON in which every character is printable. The value is the same when it is parsed. */
export function printableJson(value: unknown, indentation?: number): string {
  return JSON.stringify(value, null, indentation).replace(UNPRINTABLE_IN_LINES, (character) =>
    // JSON has escape sequences for UTF-16 code units only.
    Array.from({ length: character.length }, (_, index) => `\\u${hex(character.charCodeAt(index), 4)}`).join(''),
  );
}

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code <= 0xff) return `\\x${hex(code, 2)}`;
  return code <= 0xffff ? `\\u${hex(code, 4)}` : `\\u{${hex(code, 1)}}`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0');
}
