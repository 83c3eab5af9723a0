import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { ReplyBody } from '../protocols/protocol.js';

/** What the page consists of, by the name below its path, with where the build has put it. */
const FILES = {
  '': { file: 'page.html', contentType: 'text/html; charset=utf-8' },
  'page.js': { file: 'page.js', contentType: 'text/javascript; charset=utf-8' },
  'page.css': { file: 'page.css', contentType: 'text/css; charset=utf-8' },
} as const;

const loaded = new Map<string, Promise<ReplyBody>>();

/** A file of the page, read once; undefined for what is none. Rejects where the package has not been built. */
export function asset(name: string): Promise<ReplyBody> | undefined {
  if (!isAsset(name)) return undefined;
  const known = loaded.get(name);
  if (known !== undefined) return known;
  const { file, contentType } = FILES[name];
  // Wherever the bundle of this module stands, a package finds itself.
  const root = dirname(createRequire(import.meta.url).resolve('hotblob/package.json'));
  const reading = readFile(join(root, 'dist', 'dashboard', 'page', file), 'utf8').then((text) => ({
    contentType,
    text,
  }));
  loaded.set(name, reading);
  reading.catch(() => loaded.delete(name));
  return reading;
}

function isAsset(name: string): name is keyof typeof FILES {
  return Object.hasOwn(FILES, name);
}
