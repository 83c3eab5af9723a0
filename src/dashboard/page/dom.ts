/** The element of the page with this id. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element as E; // page.html says what each is
}

/** A new element with text in it. */
export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  text = '',
  className = '',
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  if (text !== '') made.textContent = text;
  if (className !== '') made.className = className;
  return made;
}

/** Writes a text where it is another one: what has not changed is not read out again. */
export function setText(id: string, text: string): void {
  const target = byId(id);
  if (target.textContent !== text) target.textContent = text;
}

/** A table with a caption for those who cannot see where it stands. */
export function table(
  caption: string,
  heads: readonly string[],
  rows: readonly (readonly (string | Node)[])[],
): HTMLElement {
  const made = element('table');
  made.append(element('caption', caption, 'hidden'));
  const head = made.createTHead().insertRow();
  for (const text of heads) {
    const cell = element('th', text);
    cell.scope = 'col';
    head.append(cell);
  }
  const body = made.createTBody();
  for (const cells of rows) {
    const row = body.insertRow();
    for (const cell of cells) row.insertCell().append(cell);
  }
  return made;
}

/** Pairs of a name and a value, in a list of definitions. */
export function setPairs(id: string, pairs: readonly (readonly [string, string])[]): void {
  byId(id).replaceChildren(...pairs.flatMap(([name, value]) => [element('dt', name), element('dd', value)]));
}
