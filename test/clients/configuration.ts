import { readFile } from 'node:fs/promises';
import { TOKEN } from './cache-server.js';

const page = await readFile('docs/build-tools.md', 'utf8');

/** Returns the code blocks that docs/build-tools.md has for a tool, in their order, without the fences. */
export function configurationOf(tool: string): string[] {
  const section = page.split(`\n## ${tool}\n`)[1]?.split('\n## ')[0];
  if (section === undefined) throw new Error(`docs/build-tools.md: expected a section "${tool}"`);
  return [...section.matchAll(/^```\w+\n(.*?)\n```$/gms)].map(([, block = '']) => block);
}

/** Replaces the address and the token of a configuration, as a user does. */
export function configured(text: string, port: number, token = TOKEN): string {
  return text.replaceAll('127.0.0.1:8080', `127.0.0.1:${port}`).replaceAll(/\btoken\b/g, token);
}
