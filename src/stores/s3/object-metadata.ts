import type { UploadMetadata } from '../../contract/artifact.js';
import { isFieldValue } from '../../contract/header-fields.js';
import { keptHeadersOf } from '../../contract/upload-metadata.js';

/**
 * Prefix of the names of additional headers in user-defined metadata. Metadata without this prefix belongs to other
 * programs.
 */
const PREFIX = 'hotblob-';
/** Name of the subject in user-defined metadata. It is not the name of a header that is kept. */
const SUBJECT = `${PREFIX}subject`;
const DEFAULT_CONTENT_TYPE = 'application/octet-stream';

/** Metadata parameters of a request that creates an object. */
export interface ObjectMetadataInput {
  readonly ContentType: string;
  readonly ContentEncoding?: string;
  readonly CacheControl?: string;
  /** User-defined metadata, without the prefix `x-amz-meta-` that the names have in the request. */
  readonly Metadata?: Record<string, string>;
}

/** Metadata in a response of S3. */
interface ObjectMetadataOutput {
  readonly ContentType?: string | undefined;
  readonly ContentEncoding?: string | undefined;
  readonly CacheControl?: string | undefined;
  readonly Metadata?: Readonly<Record<string, string>> | undefined;
}

/** Converts the metadata of an upload. Header names must be in lower case. */
export function toObjectMetadata(metadata: UploadMetadata = {}): ObjectMetadataInput {
  const { contentType, contentEncoding, cacheControl, subject, headers = {} } = metadata;
  const entries = Object.entries(headers).map(([name, value]) => [PREFIX + name, encode(value)] as const);
  if (subject !== undefined) entries.push([SUBJECT, encode(subject)]);
  return {
    ContentType: contentType ?? DEFAULT_CONTENT_TYPE,
    ...(contentEncoding === undefined ? {} : { ContentEncoding: contentEncoding }),
    ...(cacheControl === undefined ? {} : { CacheControl: cacheControl }),
    ...(entries.length === 0 ? {} : { Metadata: Object.fromEntries(entries) }),
  };
}

/** Converts the metadata of an object, which may come from another program. The inverse of {@link toObjectMetadata}. */
export function fromObjectMetadata(output: ObjectMetadataOutput): UploadMetadata {
  const { ContentType, ContentEncoding, CacheControl, Metadata = {} } = output;
  const own = Object.entries(Metadata).filter(([name]) => name.startsWith(PREFIX));
  const headers = keptHeadersOf(own.map(([name, value]) => [name.slice(PREFIX.length), decode(value)]));
  const subject = Metadata[SUBJECT];
  return {
    ...(subject === undefined ? {} : { subject: decode(subject) }),
    ...(isFieldValue(ContentType) ? { contentType: ContentType } : {}),
    // "aws-chunked" is the framing of an upload; some services store it as the encoding of the object.
    ...(ContentEncoding && ContentEncoding !== 'aws-chunked' && isFieldValue(ContentEncoding)
      ? { contentEncoding: ContentEncoding }
      : {}),
    ...(isFieldValue(CacheControl) ? { cacheControl: CacheControl } : {}),
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
  };
}

/** Stands for an empty value. No header has the value NUL, because control characters are refused. */
const EMPTY = '%00';
/**
 * Characters to encode: everything outside visible ASCII; a space that follows a space, because the signature collapses
 * spaces; the percent sign; and the start of an RFC 2047 encoded word, which S3 would decode.
 */
const UNSAFE = /[^\x20-\x7e]|%|(?<= ) |^=\?/gu;

function encode(value: string): string {
  return value === '' ? EMPTY : value.replaceAll(UNSAFE, encodeURIComponent);
}

function decode(value: string): string {
  if (value === EMPTY) return '';
  try {
    return decodeURIComponent(value);
  } catch {
    return value; // Not percent-encoded: written by another program.
  }
}
