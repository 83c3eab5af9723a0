import { readdir, readFile } from 'node:fs/promises';

const BESIDE_DOCS = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'];

const root = new Set(await readdir('.'));

/** Pages for users and contributors, as paths from the root of the package. */
export const PAGES: readonly string[] = [
  ...BESIDE_DOCS.filter((name) => root.has(name)),
  ...(await readdir('docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`),
];

/** Returns the text of a page without its code blocks. */
export async function proseOf(page: string): Promise<string> {
  return (await readFile(page, 'utf8')).replace(/^```.*?^```$/gms, '');
}

/** Returns the anchors of the headings of a page, as GitHub makes them. */
export function anchorsOf(prose: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of prose.matchAll(/^#+ (.*)$/gm)) {
    const text = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1');
    const slug = text
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let number = 1; anchors.has(anchor); number++) anchor = `${slug}-${number}`;
    anchors.add(anchor);
  }
  return anchors;
}
