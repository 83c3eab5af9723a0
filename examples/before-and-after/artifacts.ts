// Code that all servers of this folder share: settings, authentication and uploads.
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, realpath, rename, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

const { DIR = './artifacts', PORT = '8080', TOKEN } = process.env;
if (TOKEN === undefined) throw new Error('TOKEN is not set');

await mkdir(join(DIR, '.uploads'), { recursive: true });

/** Directory of the artifacts, with symlinks resolved. */
export const root = await realpath(DIR);
export const port = Number(PORT);

/** Valid artifact names have no dots and no slashes. */
export const isName = (text: string): boolean => /^[\w-]{1,128}$/.test(text);

/** Returns the name in a path such as /artifacts/0123abcd, or `undefined` for any other path. */
export function nameIn(url: string | undefined): string | undefined {
  const [, name = ''] = /^\/artifacts\/([^/?]+)$/.exec(url ?? '') ?? [];
  return isName(name) ? name : undefined;
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
const expected = digest(`Bearer ${TOKEN}`);

export const isAllowed = (authorization = ''): boolean => timingSafeEqual(digest(authorization), expected);

/** Stores an upload with an atomic rename: readers see the old file or the new one, and an aborted upload stores nothing. */
export async function save(name: string, body: Readable): Promise<void> {
  const upload = join(root, '.uploads', randomUUID());
  try {
    await pipeline(body, createWriteStream(upload));
    await rename(upload, join(root, name));
  } finally {
    await rm(upload, { force: true });
  }
}

export function announce(address: AddressInfo | string | null): void {
  if (typeof address === 'object') console.log(`listening on http://127.0.0.1:${address?.port}`);
}
