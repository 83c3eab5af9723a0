/** Number of differing characters up to which a name counts as misspelled. */
const MAX_DISTANCE = 2;

/** Returns the name in `names` that `name` probably stands for: an abbreviation or a misspelling of it. */
function closestName(name: string, names: readonly string[]): string | undefined {
  const word = name.toLowerCase();
  const spelled = names.find((each) => lettersOf(each) === lettersOf(word));
  if (spelled !== undefined) return spelled;
  const longer = names.find((each) => word.length >= MAX_DISTANCE && (each.startsWith(word) || word.startsWith(each)));
  if (longer !== undefined) return longer;
  let closest: { readonly name: string; readonly distance: number } | undefined;
  for (const each of names) {
    const distance = editDistance(word, each);
    if (
      distance <= Math.min(MAX_DISTANCE, each.length - 2) &&
      distance < (closest?.distance ?? Number.POSITIVE_INFINITY)
    ) {
      closest = { name: each, distance };
    }
  }
  return closest?.name;
}

/** Returns a name without its separators: `write-back` may be written as `writeBack`. */
function lettersOf(name: string): string {
  return name.replace(/[-_]/g, '');
}

/** Returns ` (did you mean NAME?)` for an error message, or the empty string if no name is similar. */
export function didYouMean(name: string, names: readonly string[]): string {
  const closest = closestName(name, names);
  return closest === undefined ? '' : ` (did you mean ${closest}?)`;
}

/** Returns the number of characters to insert, delete or replace (Levenshtein). */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > MAX_DISTANCE) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const replaced = (row[j] ?? 0) + (a[i] === b[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
