import { readFileSync, statSync } from 'node:fs';

/** An artifact as a Buffer. Sending it is the upper bound for every other way. */
export interface InMemory {
  readonly bytes: Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

/** Reads a file. Returns its bytes, and the headers that hotblob would send with them. */
export function inMemory(path: string): InMemory {
  const { ino, size, mtimeNs, mtime } = statSync(path, { bigint: true });
  const headers = {
    'content-type': 'application/octet-stream',
    'cache-control': 'no-cache, no-transform',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "sandbox; default-src 'none'",
    'cross-origin-resource-policy': 'same-origin',
    'content-disposition': 'attachment',
    'content-length': String(size),
    'accept-ranges': 'bytes',
    etag: `"${ino.toString(36)}-${size.toString(36)}-${mtimeNs.toString(36)}"`,
    'last-modified': mtime.toUTCString(),
  };
  return { bytes: readFileSync(path), headers };
}

/** Returns an artifact with the least headers that a response with a body has. */
export function plain(bytes: Buffer): InMemory {
  return { bytes, headers: { 'content-type': 'application/octet-stream', 'content-length': String(bytes.byteLength) } };
}
