import { readFile } from 'node:fs/promises';
import { TOKEN } from './cache-server.js';

const readme = await readFile('README.md', 'utf8');

/** The lines of configuration that the README has for a tool, in the order in which they stand there. */
export function readmeLines(tool: string): string[] {
  const row = readme.split('\n').find((line) => line.startsWith(`| ${tool}`));
  if (row === undefined) throw new Error(`the README has no row for ${tool}`);
  return [...(row.split(' | ')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, line = '']) => line);
}

/** A line as a user changes it: another address, and a token of one's own. */
export function changed(line: string, port: number, token = TOKEN): string {
  return line.replaceAll('127.0.0.1:8080', `127.0.0.1:${port}`).replaceAll(/\btoken\b/g, token);
}
