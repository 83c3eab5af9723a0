import type { IncomingHttpHeaders } from 'node:http';
import type { UploadMetadata } from '../contract/artifact.js';
import { isKeptName, KEPT_NAMES } from '../contract/upload-metadata.js';
import { invalidOption } from '../contract/validation.js';

/** Content type that curl and browsers send by default. */
const DEFAULT_TYPE = 'application/x-www-form-urlencoded';

/**
 * Returns the metadata in the headers of an upload: `Content-Type` and the headers in `names`. Returns `undefined` if
 * the upload has none of these headers. `application/x-www-form-urlencoded` is ignored, because curl sends it by
 * default. The handler adds `Content-Encoding` to every upload.
 *
 * @param names lower-case names of further headers to keep; each must begin with `x-artifact-`
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for a name that no store keeps
 */
export function uploadMetadata(
  headers: IncomingHttpHeaders,
  names: readonly string[] = [],
): UploadMetadata | undefined {
  const contentType = headers['content-type'] === DEFAULT_TYPE ? undefined : headers['content-type'];
  const others: Record<string, string> = {};
  for (const name of names) {
    if (!isKeptName(name)) throw invalidOption('names', KEPT_NAMES, name);
    const value = headers[name];
    if (typeof value === 'string') others[name] = value;
  }
  const hasOthers = Object.keys(others).length > 0;
  if (contentType === undefined && !hasOthers) return undefined;
  return { contentType, ...(hasOthers ? { headers: others } : {}) };
}
