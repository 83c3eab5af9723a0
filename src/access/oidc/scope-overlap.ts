/** One character of a value. */
export const ONE = Symbol('one');
/** Any number of characters of a value, also none. */
export const ANY = Symbol('any');

/** Unit of a pattern: a character, or characters of a value. */
export type Unit = string | typeof ONE | typeof ANY;

/** Character that a value can contain, percent-encoded or shortened. */
const VALUE_CHARACTER = /^[\w.%~-]$/;

/**
 * Returns whether a text exists that matches both patterns. Visits each pair of positions at most once, because the patterns come
 * from a file.
 */
export function haveCommonText(a: readonly Unit[], b: readonly Unit[]): boolean {
  const width = b.length + 1;
  const pending = [0];
  const seen = new Set(pending);
  const visit = (i: number, j: number): void => {
    const position = i * width + j;
    if (seen.has(position)) return;
    seen.add(position);
    pending.push(position);
  };
  for (let position = pending.pop(); position !== undefined; position = pending.pop()) {
    const [i, j] = [Math.floor(position / width), position % width];
    const x: Unit | undefined = a[i];
    const y: Unit | undefined = b[j];
    if (x === undefined && y === undefined) return true;
    // ANY ends here, or takes the character of the other pattern.
    if (x === ANY) visit(i + 1, j);
    if (y === ANY) visit(i, j + 1);
    if (x === undefined || y === undefined || !haveCommonCharacter(x, y)) continue;
    visit(x === ANY ? i : i + 1, y === ANY ? j : j + 1);
  }
  return false;
}

function haveCommonCharacter(x: Unit, y: Unit): boolean {
  if (typeof x === 'string') return typeof y === 'string' ? x === y : VALUE_CHARACTER.test(x);
  return typeof y !== 'string' || VALUE_CHARACTER.test(y);
}
