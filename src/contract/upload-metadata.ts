import type { UploadMetadata } from './artifact.js';
import { HotblobError } from './errors.js';
import { DEFAULT_CACHE_CONTROL, isFieldValue } from './header-fields.js';
import { invalidOption } from './validation.js';

/** Maximum size of the metadata of an upload in bytes, in the form that {@link encodeMetadata} returns. */
export const MAX_METADATA_BYTES = 4096;

/** Default values of the fields. A field with its default value is not stored. */
const DEFAULTS: Readonly<Record<Field, readonly string[]>> = {
  contentType: ['application/octet-stream'],
  contentEncoding: ['identity'],
  // Another cache of this package sends these values for artifacts without a policy.
  cacheControl: ['no-transform', DEFAULT_CACHE_CONTROL],
};
const LETTERS = { contentType: 't', contentEncoding: 'e', cacheControl: 'c' } as const;
type Field = keyof typeof LETTERS;
const FIELDS = ['contentType', 'contentEncoding', 'cacheControl'] as const;

/**
 * Names of the headers that are kept with an artifact: those of Turborepo, of Tuist and of custom protocols. All other
 * names are refused, because a proxy or a browser may obey them: `x-accel-redirect`, `x-sendfile`, `refresh`,
 * `service-worker-allowed`, `set-cookie`.
 */
const KEPT_NAME = /^(?:x-artifact-[a-z0-9-]+|tuist-checksum-sha256)$/;

/** {@link KEPT_NAME} in words, for error messages. */
export const KEPT_NAMES = "'tuist-checksum-sha256' or a name that begins with 'x-artifact-'";

/** Returns whether a header with this name, in lower case, is kept with an artifact. */
export function isKeptName(name: string): boolean {
  return KEPT_NAME.test(name);
}

/** Returns the valid headers that are kept with an artifact. Names must be in lower case. */
export function keptHeadersOf(headers: Iterable<readonly [name: string, value: unknown]>): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of headers) if (isKeptName(name) && isFieldValue(value)) kept[name] = value;
  return kept;
}

/**
 * Encodes the metadata of an upload for storage, as JSON with short names and with header names in lower case. Returns
 * undefined if no field differs from its default.
 *
 * @throws HotblobError `ERR_HOTBLOB_METADATA_TOO_LARGE` above {@link MAX_METADATA_BYTES}
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` for a value that is not valid in a header
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for the name of a header that is not kept
 */
export function encodeMetadata(metadata: UploadMetadata | undefined): Buffer | undefined {
  if (metadata === undefined) return undefined;
  const entries: [string, unknown][] = [];
  for (const field of FIELDS) {
    const value = metadata[field];
    if (value === undefined || value === '' || DEFAULTS[field].includes(value)) continue;
    assertField(field, value);
    entries.push([LETTERS[field], value]);
  }
  const headers = Object.entries(metadata.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value] as const);
  for (const [name, value] of headers) {
    if (!isKeptName(name)) throw invalidOption('metadata.headers', KEPT_NAMES, name);
    assertField(name, value);
  }
  if (headers.length > 0) entries.push(['h', Object.fromEntries(headers)]);
  if (metadata.subject !== undefined && metadata.subject !== '') entries.push(['s', metadata.subject]);
  if (entries.length === 0) return undefined;
  const bytes = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  if (bytes.byteLength <= MAX_METADATA_BYTES) return bytes;
  const message = `metadata of an upload: expected at most ${MAX_METADATA_BYTES} bytes, received ${bytes.byteLength}`;
  throw new HotblobError('ERR_HOTBLOB_METADATA_TOO_LARGE', message);
}

/**
 * Decodes the result of {@link encodeMetadata}. Returns undefined for any other bytes, which another program may have
 * written. Drops headers that are not kept, which an earlier version may have written.
 */
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
    if (isFieldValue(text)) metadata[field] = text;
    else if (text !== undefined) return undefined;
  }
  const { h: headers, s: subject } = value;
  if (typeof subject === 'string') metadata.subject = subject;
  else if (subject !== undefined) return undefined;
  if (headers === undefined) return metadata;
  if (!isObject(headers) || !Object.values(headers).every(isFieldValue)) return undefined;
  const kept = keptHeadersOf(Object.entries(headers));
  if (Object.keys(kept).length > 0) metadata.headers = kept;
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

/** Returns the fields of an artifact that its upload can set, without headers that are not kept. */
export function uploadMetadataOf(artifact: UploadMetadata): UploadMetadata {
  const { contentType, contentEncoding, cacheControl, subject, headers = {} } = artifact;
  const entries = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value] as const);
  return { contentType, contentEncoding, cacheControl, subject, headers: keptHeadersOf(entries) };
}

function assertField(name: string, value: unknown): void {
  if (isFieldValue(value)) return;
  const message = `metadata of an upload: the value of ${JSON.stringify(name)} is not valid in a header`;
  throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', message);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
