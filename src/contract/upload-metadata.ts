import type { UploadMetadata } from './artifact.js';
import { HotblobError } from './errors.js';
import { isFieldName, isFieldValue } from './header-fields.js';

/** Maximum size of the metadata of an upload in bytes, in the form that {@link encodeMetadata} returns. */
export const MAX_METADATA_BYTES = 4096;

/** Default values of the fields. A field with its default value is not stored. */
const DEFAULTS: Readonly<Record<Field, string>> = {
  contentType: 'application/octet-stream',
  contentEncoding: 'identity',
  cacheControl: 'no-transform',
};
const LETTERS = { contentType: 't', contentEncoding: 'e', cacheControl: 'c' } as const;
type Field = keyof typeof LETTERS;
const FIELDS = ['contentType', 'contentEncoding', 'cacheControl'] as const;

/**
 * Encodes the metadata of an upload for storage, as JSON with short names and with header names in lower case. Returns
 * undefined if no field differs from its default.
 *
 * @throws HotblobError `ERR_HOTBLOB_METADATA_TOO_LARGE` above {@link MAX_METADATA_BYTES}
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` for a name or value that is not a valid header
 */
export function encodeMetadata(metadata: UploadMetadata | undefined): Buffer | undefined {
  if (metadata === undefined) return undefined;
  const entries: [string, unknown][] = [];
  for (const field of FIELDS) {
    const value = metadata[field];
    if (value === undefined || value === '' || value === DEFAULTS[field]) continue;
    assertField(field, value);
    entries.push([LETTERS[field], value]);
  }
  const headers = Object.entries(metadata.headers ?? {});
  for (const [name, value] of headers) assertField(name, value);
  if (headers.length > 0) {
    entries.push(['h', Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value]))]);
  }
  if (entries.length === 0) return undefined;
  const bytes = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  if (bytes.byteLength <= MAX_METADATA_BYTES) return bytes;
  const message = `metadata of an upload: expected at most ${MAX_METADATA_BYTES} bytes, received ${bytes.byteLength}`;
  throw new HotblobError('ERR_HOTBLOB_METADATA_TOO_LARGE', message);
}

/** Decodes the result of {@link encodeMetadata}. Returns undefined for any other bytes. */
export function decodeMetadata(bytes: Uint8Array): UploadMetadata | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch {
    return undefined;
  }
  if (!isObject(value)) return undefined;
  const metadata: { -readonly [Name in keyof UploadMetadata]: UploadMetadata[Name] } = {};
  for (const field of FIELDS) {
    const text = value[LETTERS[field]];
    if (typeof text === 'string') metadata[field] = text;
    else if (text !== undefined) return undefined;
  }
  const { h: headers } = value;
  if (headers === undefined) return metadata;
  if (!isObject(headers) || !hasStrings(headers)) return undefined;
  metadata.headers = headers;
  return metadata;
}

/**
 * Validates the metadata of an upload and returns a copy. The copy is the same as after {@link encodeMetadata} and
 * {@link decodeMetadata}.
 *
 * @throws HotblobError for the reasons of {@link encodeMetadata}
 */
export function normalizeMetadata(metadata: UploadMetadata | undefined): UploadMetadata | undefined {
  const bytes = encodeMetadata(metadata);
  return bytes && decodeMetadata(bytes);
}

/** Returns the fields of an artifact that its upload can set. */
export function uploadMetadataOf(artifact: UploadMetadata): UploadMetadata {
  const { contentType, contentEncoding, cacheControl, headers } = artifact;
  return { contentType, contentEncoding, cacheControl, headers };
}

function assertField(name: string, value: unknown): void {
  if (isFieldName(name) && isFieldValue(value)) return;
  throw new HotblobError(
    'ERR_HOTBLOB_BAD_REQUEST',
    `metadata of an upload: ${JSON.stringify(name)} or its value is not a valid header`,
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function hasStrings(value: Readonly<Record<string, unknown>>): value is Readonly<Record<string, string>> {
  return Object.values(value).every((each) => typeof each === 'string');
}
