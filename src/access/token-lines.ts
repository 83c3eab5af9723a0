import { HotblobError } from '../contract/errors.js';
import { isScope, SCOPE_NAME } from '../keys/scope.js';
import { MAX_SCOPES, SUBJECT } from './grant.js';
import type { AccessToken } from './token-set.js';
import { describeUnknownProtocol, LEVEL, TOKEN } from './token-syntax.js';

/** Token in a token file, with its line number. */
export interface TokenLine {
  /** Line number; the first line is 1. */
  readonly line: number;
  readonly entry: AccessToken;
}

/** Words after the token. */
type Words = { -readonly [Name in Exclude<keyof AccessToken, 'token' | 'level'>]?: AccessToken[Name] };

/**
 * Parses a token file. A line has `read` or `write`, the token, and optionally `protocols=a,b`, `namespaces=c,d`, `scope=e`,
 * `reads=f,g`, `write-once` and `name=h`, separated by spaces or tabs. Spaces and commas in a protocol, namespace or name are
 * percent-encoded; scopes are not decoded. A word that begins with `#` starts a comment. Empty lines are ignored.
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
  const words: Words = {};
  for (const word of rest) {
    const problem = addWord(words, word, protocols);
    if (problem !== undefined) return problem;
  }
  return { token, level, ...words };
}

/** Words after a token, and the properties that they set. */
const PROPERTIES: ReadonlyMap<string, keyof Words> = new Map([
  ['protocols=', 'protocols'],
  ['namespaces=', 'namespaces'],
  ['scope=', 'scope'],
  ['reads=', 'reads'],
  ['write-once', 'overwrite'],
  ['name=', 'name'],
]);

/** Adds a word to `words`. Returns a message if it is not valid. */
function addWord(words: Words, word: string, protocols: readonly string[] | undefined): string | undefined {
  const name = word.slice(0, word.indexOf('=') + 1) || word;
  const property = PROPERTIES.get(name);
  if (property === undefined) {
    return 'expected protocols=…, namespaces=…, scope=…, reads=…, write-once or name=… after the token';
  }
  if (words[property] !== undefined) return `expected ${name} at most once`;
  const value = word.slice(name.length);
  switch (property) {
    case 'protocols':
    case 'namespaces':
      words[property] = listOf(value);
      if (words[property] === undefined) return `expected ${name}a,b with non-empty, percent-encoded values`;
      break;
    case 'scope':
      if (!isScope(value)) return `expected scope= with ${SCOPE_NAME.expected}`;
      words.scope = value;
      break;
    case 'reads':
      words.reads = value.split(',');
      if (!words.reads.every(isScope)) return `expected reads=a,b with scopes, each ${SCOPE_NAME.expected}`;
      if (words.reads.length >= MAX_SCOPES) return `expected reads= with at most ${MAX_SCOPES - 1} scopes`;
      break;
    case 'overwrite':
      words.overwrite = false;
      break;
    case 'name':
      words.name = listOf(value)?.join(',');
      if (!SUBJECT.accepts(words.name)) return `expected name= with ${SUBJECT.expected}, percent-encoded`;
  }
  const unknown = property === 'protocols' ? describeUnknownProtocol(words.protocols ?? [], protocols) : undefined;
  return unknown && `protocols=: ${unknown}`;
}

function listOf(text: string): string[] | undefined {
  try {
    const values = text.split(',').map(decodeURIComponent);
    return values.includes('') ? undefined : values;
  } catch {
    return undefined;
  }
}
