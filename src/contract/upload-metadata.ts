import type { UploadMetadata } from './artifact.js';
import { HotblobError } from './errors.js';

/** The most that a store keeps of what an upload says about itself, in bytes as {@link encodeMetadata} writes it. */
export const MAX_METADATA_BYTES = 4096;

const NOTHING_SAID: Readonly<Record<Field, string>> = {
  contentType: 'application/octet-stream',
  contentEncoding: 'identity',
  cacheControl: 'no-transform',
};
const LETTERS = { contentType: 't', contentEncoding: 'e', cacheControl: 'c' } as const;
type Field = keyof typeof LETTERS;
const FIELDS = ['contentType', 'contentEncoding', 'cacheControl'] as const;

/** RFC 9110, 5.6.2. */
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 9110, 5.5: it begins and ends with something visible, and has no control characters but the tab. */
const FIELD_VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;

/**
 * What an upload says about itself as stores keep it: JSON with short names. Undefined where it says nothing, or nothing
 * but what is said of every artifact anyway, so that those cost no room. Names of headers become lower case.
 *
 * @throws HotblobError `ERR_HOTBLOB_METADATA_TOO_LARGE` above {@link MAX_METADATA_BYTES}, `ERR_HOTBLOB_BAD_REQUEST` for what
 * cannot be sent as a header
 */
export function encodeMetadata(metadata: UploadMetadata | undefined): Buffer | undefined {
  if (metadata === undefined) return undefined;
  const kept: [string, unknown][] = [];
  for (const field of FIELDS) {
    const value = metadata[field];
    if (value === undefined || value === '' || value === NOTHING_SAID[field]) continue;
    assertField(field, value);
    kept.push([LETTERS[field], value]);
  }
  const headers = Object.entries(metadata.headers ?? {});
  for (const [name, value] of headers) assertField(name, value);
  if (headers.length > 0) {
    kept.push(['h', Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value]))]);
  }
  if (kept.length === 0) return undefined;
  const bytes = Buffer.from(JSON.stringify(Object.fromEntries(kept)));
  if (bytes.byteLength <= MAX_METADATA_BYTES) return bytes;
  const message = `what an upload says about itself has at most ${MAX_METADATA_BYTES} bytes, found ${bytes.byteLength}`;
  throw new HotblobError('ERR_HOTBLOB_METADATA_TOO_LARGE', message);
}

/** Reads what {@link encodeMetadata} wrote; undefined where that is not what is there. */
export function decodeMetadata(bytes: Uint8Array): UploadMetadata | undefined {
  let found: unknown;
  try {
    found = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch {
    return undefined;
  }
  if (!isObject(found)) return undefined;
  const metadata: { -readonly [Name in keyof UploadMetadata]: UploadMetadata[Name] } = {};
  for (const field of FIELDS) {
    const value = found[LETTERS[field]];
    if (typeof value === 'string') metadata[field] = value;
    else if (value !== undefined) return undefined;
  }
  const { h: headers } = found;
  if (headers === undefined) return metadata;
  if (!isObject(headers) || !hasStrings(headers)) return undefined;
  metadata.headers = headers;
  return metadata;
}

/**
 * A copy of what an upload says about itself, as a store hands it back that has kept it in whatever way.
 *
 * @throws HotblobError as {@link encodeMetadata}
 */
export function keptMetadata(metadata: UploadMetadata | undefined): UploadMetadata | undefined {
  const bytes = encodeMetadata(metadata);
  return bytes && decodeMetadata(bytes);
}

/** Of what an artifact says about itself the part that came with its upload. */
export function uploadMetadataOf(artifact: UploadMetadata): UploadMetadata {
  const { contentType, contentEncoding, cacheControl, headers } = artifact;
  return { contentType, contentEncoding, cacheControl, headers };
}

function assertField(name: string, value: unknown): void {
  if (FIELD_NAME.test(name) && typeof value === 'string' && FIELD_VALUE.test(value)) return;
  throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', `${JSON.stringify(name)} of an upload cannot be sent as a header`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function hasStrings(value: Readonly<Record<string, unknown>>): value is Readonly<Record<string, string>> {
  return Object.values(value).every((each) => typeof each === 'string');
}
