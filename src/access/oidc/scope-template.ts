import { createHash } from 'node:crypto';
import { encodedBytes, isScope, MAX_ENCODED_BYTES, SCOPE_NAME } from '../../keys/scope.js';
import { singleTextOf } from './claims.js';
import { ANY, haveCommonText, ONE, type Unit } from './scope-overlap.js';

/** Returns the value of a claim or of a field of the certificate. */
export type ValueOf = (name: string) => unknown;

/** A literal text, or the name of a placeholder. */
type Part = { readonly literal: string } | { readonly name: string };

/** SHA-256 in hex, after a `~`. */
const DIGEST_BYTES = encodedBytes(`~${'0'.repeat(64)}`);

/** A result would be ambiguous if a value could continue in the next one. Values contain none of these characters. */
const SEPARATORS = '/:@=+';

/**
 * Name of a scope with placeholders, such as `pr/{ref}`.
 *
 * Values are percent-encoded, except letters, digits, `-`, `.` and `_`, so that two values never result in the same
 * scope, and no value can add a segment. If a value is too long, its end is replaced by `~` and the SHA-256 of the
 * value. Values cannot contain a `~`, so no value can imitate another one that has been shortened.
 */
export class ScopeTemplate {
  readonly #parts: readonly Part[];
  /** Maximum size of each value. */
  readonly #valueBytes: number;

  /** @throws an Error that completes the sentence "expected ..." if the text is not a valid template */
  constructor(text: string) {
    this.#parts = parse(text);
    const literals = this.#parts.map((part) => ('literal' in part ? part.literal : '')).join('');
    const count = this.names.length;
    this.#valueBytes = Math.floor((MAX_ENCODED_BYTES - encodedBytes(literals)) / Math.max(1, count));
    if (count > 0 && this.#valueBytes < DIGEST_BYTES) throw new Error('fewer placeholders or a shorter text');
  }

  /** Names of the placeholders. */
  get names(): readonly string[] {
    return this.#parts.flatMap((part) => ('name' in part ? [part.name] : []));
  }

  /** Returns the scope, or `undefined` if a value is missing, empty, or not a single value. */
  render(lookUp: ValueOf): string | undefined {
    let scope = '';
    for (const part of this.#parts) {
      const text = 'literal' in part ? part.literal : this.#encode(singleTextOf(lookUp(part.name)));
      if (text === undefined) return undefined;
      scope += text;
    }
    return scope;
  }

  /** Whether values exist for which both templates result in the same scope. */
  overlaps(other: ScopeTemplate): boolean {
    return haveCommonText(this.#units(), other.#units());
  }

  /** Units of a pattern for the scopes that the template can result in. A value has at least one character. */
  #units(): readonly Unit[] {
    return this.#parts.flatMap((part): readonly Unit[] => ('literal' in part ? [...part.literal] : [ONE, ANY]));
  }

  #encode(value: string | undefined): string | undefined {
    const encoded = value === undefined ? undefined : percentEncode(value);
    if (value === undefined || encoded === undefined) return undefined;
    if (encodedBytes(encoded) <= this.#valueBytes) return encoded;
    let prefix = '';
    let bytes = DIGEST_BYTES;
    for (const [unit] of encoded.matchAll(/%..|[^%]/g)) {
      bytes += encodedBytes(unit);
      if (bytes > this.#valueBytes) break;
      prefix += unit;
    }
    return `${prefix}~${createHash('sha256').update(value).digest('hex')}`;
  }
}

/** @throws an Error that completes the sentence "expected ..." */
function parse(text: string): readonly Part[] {
  const parts = (text.match(/\{[^{}]*\}|[^{}]+|[{}]/g) ?? []).map((piece): Part => {
    if (piece === '{' || piece === '}' || piece === '{}') throw new Error('each placeholder as {claim}');
    return piece.startsWith('{') ? { name: piece.slice(1, -1) } : { literal: piece };
  });
  // A placeholder stands for a text like this one.
  if (!isScope(parts.map((part) => ('literal' in part ? part.literal : 'x')).join('')))
    throw new Error(SCOPE_NAME.expected);
  for (const [index, part] of parts.entries()) {
    const before = parts[index - 2];
    const between = parts[index - 1];
    if (!('name' in part) || between === undefined) continue;
    if ('name' in between) throw new Error(`a "/" between placeholders`);
    const isSeparated = [...between.literal].some((character) => SEPARATORS.includes(character));
    if (before !== undefined && !isSeparated) throw new Error('a "/" between placeholders');
  }
  return parts;
}

/** Returns a value as part of a segment, or `undefined` for a lone surrogate, which JSON can contain. */
function percentEncode(value: string): string | undefined {
  // As a whole segment, one or two dots would not be the name of a scope.
  if (/^\.{1,2}$/.test(value)) return value.replaceAll('.', '%2E');
  try {
    return encodeURIComponent(value).replace(
      /[!'()*~]/g,
      (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
    );
  } catch {
    return undefined;
  }
}
