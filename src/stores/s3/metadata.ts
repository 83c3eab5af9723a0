import type { UploadMetadata } from '../../contract/artifact.js';

/** What stands before the names of further headers in an object's metadata: that of other programs means other things. */
const PREFIX = 'hotblob-';
const DEFAULT_CONTENT_TYPE = 'application/octet-stream';

/** What is said about an object when it is made. */
export interface ObjectDescription {
  readonly ContentType: string;
  readonly ContentEncoding?: string;
  readonly CacheControl?: string;
  /** Without the `x-amz-meta-` that stands before the names on the wire. */
  readonly Metadata?: Record<string, string>;
}

/** What S3 is told about an object. Names of headers are in lower case. */
export function descriptionOf(metadata: UploadMetadata = {}): ObjectDescription {
  const { contentType, contentEncoding, cacheControl, headers = {} } = metadata;
  const further = Object.entries(headers).map(([name, value]) => [PREFIX + name, encoded(value)] as const);
  return {
    ContentType: contentType ?? DEFAULT_CONTENT_TYPE,
    ...(contentEncoding === undefined ? {} : { ContentEncoding: contentEncoding }),
    ...(cacheControl === undefined ? {} : { CacheControl: cacheControl }),
    ...(further.length === 0 ? {} : { Metadata: Object.fromEntries(further) }),
  };
}

/** What S3 says about an object. */
export interface ObjectAnswer {
  readonly ContentType?: string | undefined;
  readonly ContentEncoding?: string | undefined;
  readonly CacheControl?: string | undefined;
  readonly Metadata?: Readonly<Record<string, string>> | undefined;
}

/** Reads what {@link descriptionOf} said, and the same parts of what others have said. */
export function metadataOf(answer: ObjectAnswer): UploadMetadata {
  const { ContentType, ContentEncoding, CacheControl, Metadata = {} } = answer;
  const further: [string, string][] = [];
  for (const [name, value] of Object.entries(Metadata)) {
    if (name.startsWith(PREFIX)) further.push([name.slice(PREFIX.length), decoded(value)]);
  }
  return {
    ...(ContentType === undefined ? {} : { contentType: ContentType }),
    // "aws-chunked" frames an upload; some services keep it as if it were the object's.
    ...(!ContentEncoding || ContentEncoding === 'aws-chunked' ? {} : { contentEncoding: ContentEncoding }),
    ...(CacheControl === undefined ? {} : { cacheControl: CacheControl }),
    ...(further.length === 0 ? {} : { headers: Object.fromEntries(further) }),
  };
}

/** No header has this value: control characters are refused. */
const EMPTY = '%00';
/**
 * What is not visible ASCII, spaces after another (the signature counts them as one), the sign of this encoding, and the
 * beginning of the one of RFC 2047, which S3 undoes.
 */
const UNSAFE = /[^\x20-\x7e]|%|(?<= ) |^=\?/g;

function encoded(value: string): string {
  return value === '' ? EMPTY : value.replaceAll(UNSAFE, encodeURIComponent);
}

function decoded(value: string): string {
  if (value === EMPTY) return '';
  try {
    return decodeURIComponent(value);
  } catch {
    return value; // somebody else has written it
  }
}
