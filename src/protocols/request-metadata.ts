import type { IncomingHttpHeaders } from 'node:http';
import type { UploadMetadata } from '../contract/artifact.js';

/** What curl and browsers say of a body that nobody has described. */
const MEANINGLESS = 'application/x-www-form-urlencoded';

/**
 * What the headers of an upload say about its artifact: type, encoding and those of `names`; undefined where that is
 * nothing.
 */
export function uploadMetadata(
  headers: IncomingHttpHeaders,
  names: readonly string[] = [],
): UploadMetadata | undefined {
  const contentType = headers['content-type'] === MEANINGLESS ? undefined : headers['content-type'];
  const contentEncoding = headers['content-encoding'];
  const further: Record<string, string> = {};
  for (const name of names) {
    const value = headers[name];
    if (typeof value === 'string') further[name] = value;
  }
  const hasFurther = Object.keys(further).length > 0;
  if (contentType === undefined && contentEncoding === undefined && !hasFurther) return undefined;
  return { contentType, contentEncoding, ...(hasFurther ? { headers: further } : {}) };
}
