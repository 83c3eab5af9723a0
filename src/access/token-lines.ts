import { HotblobError } from '../contract/errors.js';
import type { AccessToken } from './token-set.js';
import { describeUnknownProtocol, LEVEL, TOKEN } from './token-syntax.js';

/** Token in a token file, with its line number. */
export interface TokenLine {
  /** Line number; the first line is 1. */
  readonly line: number;
  readonly entry: AccessToken;
}

type Lists = { protocols?: readonly string[]; namespaces?: readonly string[] };

/**
 * Parses a token file. A line has `read` or `write`, the token, and optionally `protocols=a,b` and `namespaces=c,d`,
 * separated by spaces or tabs. Spaces and commas in a list value are percent-encoded. A word that begins with `#`
 * starts a comment. Empty lines are ignored.
 *
 * @param path path of the file, for error messages
 * @param protocols names of protocols in addition to those of this package
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` with the path and the line number, without the content of the line
 */
export function parseTokenLines(text: string, path: string, protocols?: readonly string[]): TokenLine[] {
  const lines: TokenLine[] = [];
  for (const [index, content] of text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    const words = wordsOf(content);
    if (words.length === 0) continue;
    const line = index + 1;
    const entry = entryOf(words, protocols);
    if (typeof entry === 'string') throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `${path}:${line}: ${entry}`);
    lines.push({ line, entry });
  }
  return lines;
}

/**
 * Splits the text of a token file after its last complete line. A last line without a newline may be incomplete, because
 * another program is still writing it: `write TOKEN` could be the beginning of a line that restricts the token.
 */
export function splitCompleteLines(text: string): { readonly complete: string; readonly incompleteLine?: number } {
  const end = text.lastIndexOf('\n') + 1;
  const complete = text.slice(0, end);
  if (wordsOf(text.slice(end)).length === 0) return { complete };
  return { complete, incompleteLine: complete.split('\n').length };
}

function wordsOf(line: string): string[] {
  const words = line.split(/[ \t]+/).filter((word) => word !== '');
  const comment = words.findIndex((word) => word.startsWith('#'));
  return comment === -1 ? words : words.slice(0, comment);
}

/**
 * Returns the entry of a line, or a message that says what was expected. The message omits the received word, because
 * it can be a token.
 */
function entryOf(
  [level, token, ...rest]: readonly string[],
  protocols: readonly string[] | undefined,
): AccessToken | string {
  if (level !== 'read' && level !== 'write') return `expected one of ${LEVEL.expected} as the first word`;
  if (token === undefined || !TOKEN.accepts(token)) return `expected a token as the second word: ${TOKEN.expected}`;
  const lists: Lists = {};
  for (const word of rest) {
    const sign = word.indexOf('=');
    const name = word.slice(0, Math.max(0, sign));
    if (name !== 'protocols' && name !== 'namespaces') return 'expected protocols=… or namespaces=… after the token';
    if (lists[name] !== undefined) return `expected ${name}= at most once`;
    const list = listOf(word.slice(sign + 1));
    if (list === undefined) return `expected ${name}=a,b with non-empty, percent-encoded values`;
    const unknown = name === 'protocols' ? describeUnknownProtocol(list, protocols) : undefined;
    if (unknown !== undefined) return `protocols=: ${unknown}`;
    lists[name] = list;
  }
  return { token, level, ...lists };
}

function listOf(text: string): string[] | undefined {
  try {
    const values = text.split(',').map(decodeURIComponent);
    return values.includes('') ? undefined : values;
  } catch {
    return undefined;
  }
}
