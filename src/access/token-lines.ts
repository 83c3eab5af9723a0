import { HotblobError } from '../contract/errors.js';
import type { AccessToken } from './token-set.js';
import { LEVEL, PROTOCOL, TOKEN } from './token-syntax.js';

/** A token of a file, and where it stands. */
export interface TokenLine {
  /** From 1. */
  readonly line: number;
  readonly entry: AccessToken;
}

type Lists = { protocols?: readonly string[]; namespaces?: readonly string[] };

/**
 * The tokens of a file: `read` or `write`, the token, and perhaps `protocols=a,b` and `namespaces=c,d`, with blanks
 * between. What a value of a list cannot hold otherwise (a blank, a comma) is percent-encoded. A word that begins with `#`
 * begins a comment. Empty lines count for nothing.
 *
 * @param path for messages
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` with path and line, but nothing of what stands there
 */
export function parseTokenLines(text: string, path: string): TokenLine[] {
  const found: TokenLine[] = [];
  for (const [index, content] of text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    const words = wordsOf(content);
    if (words.length === 0) continue;
    const line = index + 1;
    const entry = entryOf(words);
    if (typeof entry === 'string') throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `${path}:${line}: ${entry}`);
    found.push({ line, entry });
  }
  return found;
}

function wordsOf(line: string): string[] {
  const words = line.split(/[ \t]+/).filter((word) => word !== '');
  const comment = words.findIndex((word) => word.startsWith('#'));
  return comment === -1 ? words : words.slice(0, comment);
}

/** A string says what was expected. Whatever was found may be a token in the wrong place. */
function entryOf([level, token, ...rest]: readonly string[]): AccessToken | string {
  if (level !== 'read' && level !== 'write') return `expected ${LEVEL.expected} first`;
  if (token === undefined || !TOKEN.accepts(token)) return `expected a token second: ${TOKEN.expected}`;
  const lists: Lists = {};
  for (const word of rest) {
    const sign = word.indexOf('=');
    const name = word.slice(0, Math.max(0, sign));
    if (name !== 'protocols' && name !== 'namespaces') return 'expected protocols=… or namespaces=… behind the token';
    if (lists[name] !== undefined) return `expected ${name}= once`;
    const list = listOf(word.slice(sign + 1));
    if (list === undefined) return `expected ${name}=a,b with nothing empty, percent-encoded where need be`;
    if (name === 'protocols' && !list.every(PROTOCOL.accepts)) return `protocols=: expected ${PROTOCOL.expected}`;
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
