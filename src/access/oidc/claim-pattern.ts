/** Part of a pattern: a literal character, or a wildcard. */
type Part = { readonly character: string } | '?' | '*' | '**';

/**
 * Pattern for the text of a claim. `*` matches any number of characters except `/`, `**` matches any number of
 * characters, and `?` matches one character except `/`. All other characters match themselves; upper and lower case
 * differ. The whole text must match.
 *
 * Only the pattern has wildcards. A `*` in a claim is a character like any other.
 */
export class ClaimPattern {
  readonly #text: string;
  /** Undefined if the pattern has no wildcard. */
  readonly #parts: readonly Part[] | undefined;

  constructor(text: string) {
    this.#text = text;
    this.#parts = /[*?]/.test(text) ? (text.match(/\*+|[^*]/gsu) ?? []).map(toPart) : undefined;
  }

  /**
   * Follows all possible positions in the pattern at once. The time is proportional to the product of both lengths,
   * unlike that of a regular expression, whose backtracking a long claim could exploit.
   */
  matches(text: string): boolean {
    const parts = this.#parts;
    if (parts === undefined) return text === this.#text;
    let positions = new Set<number>();
    enter(positions, 0, parts);
    for (const character of text) {
      const next = new Set<number>();
      for (const position of positions) {
        const part = parts[position];
        if (part === undefined) continue;
        if (part === '**' || (part === '*' && character !== '/')) enter(next, position, parts);
        else if (part === '?' ? character !== '/' : typeof part === 'object' && part.character === character) {
          enter(next, position + 1, parts);
        }
      }
      if (next.size === 0) return false;
      positions = next;
    }
    return positions.has(parts.length);
  }
}

function toPart(text: string): Part {
  if (text.startsWith('*')) return text === '*' ? '*' : '**';
  return text === '?' ? '?' : { character: text };
}

/** Adds a position, and those after it that are reached without a character, because `*` may match none. */
function enter(positions: Set<number>, position: number, parts: readonly Part[]): void {
  positions.add(position);
  const part = parts[position];
  if (part === '*' || part === '**') enter(positions, position + 1, parts);
}
