/** Returns the element with this id. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element as E; // page.html and the callers agree on the types
}

/** Creates an element. */
export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  text = '',
  className = '',
): HTMLElementTagNameMap[K] {
  const created = document.createElement(name);
  if (text !== '') created.textContent = text;
  if (className !== '') created.className = className;
  return created;
}

/** Sets the text of an element if it differs. Setting the same text makes a screen reader announce it again. */
export function setText(id: string, text: string): void {
  const target = byId(id);
  if (target.textContent !== text) target.textContent = text;
}

/** Creates a table with a caption for screen readers. */
export function table(
  caption: string,
  headers: readonly string[],
  rows: readonly (readonly (string | Node)[])[],
): HTMLElement {
  const created = element('table');
  created.append(element('caption', caption, 'hidden'));
  const headerRow = created.createTHead().insertRow();
  for (const text of headers) {
    const cell = element('th', text);
    cell.scope = 'col';
    headerRow.append(cell);
  }
  const body = created.createTBody();
  for (const cells of rows) {
    const row = body.insertRow();
    for (const cell of cells) row.insertCell().append(cell);
  }
  return created;
}

/** Fills a `<dl>` with pairs of a name and a value. */
export function setPairs(id: string, pairs: readonly (readonly [string, string])[]): void {
  byId(id).replaceChildren(...pairs.flatMap(([name, value]) => [element('dt', name), element('dd', value)]));
}
