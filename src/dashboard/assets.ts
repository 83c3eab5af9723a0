import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import type { ReplyBody } from '../protocols/protocol.js';

/** Files of the page, which the build output contains compressed, by their names below the path of the dashboard. */
const FILES = {
  '': { file: 'page.html', contentType: 'text/html; charset=utf-8' },
  'page.js': { file: 'page.js', contentType: 'text/javascript; charset=utf-8' },
  'page.css': { file: 'page.css', contentType: 'text/css; charset=utf-8' },
} as const;

const decompress = promisify(brotliDecompress);

const loaded = new Map<string, Promise<ReplyBody>>();

/**
 * Loads a file of the page. Each file is read only once. Returns `undefined` for an unknown name. The promise rejects
 * if the package has not been built.
 */
export function loadAsset(name: string): Promise<ReplyBody> | undefined {
  if (!isAsset(name)) return undefined;
  const cached = loaded.get(name);
  if (cached !== undefined) return cached;
  const { file, contentType } = FILES[name];
  // Resolves the package by its own name, so that the files are found wherever the bundler has put this module.
  const root = dirname(createRequire(import.meta.url).resolve('hotblob/package.json'));
  const reading = readFile(join(root, 'dist', 'dashboard', 'page', `${file}.br`))
    .then(decompress)
    // As bytes, which all responses share.
    .then((text) => ({ contentType, text }));
  loaded.set(name, reading);
  reading.catch(() => loaded.delete(name));
  return reading;
}

function isAsset(name: string): name is keyof typeof FILES {
  return Object.hasOwn(FILES, name);
}
