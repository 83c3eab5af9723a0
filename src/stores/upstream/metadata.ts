import type { IncomingHttpHeaders } from 'node:http';
import type { UploadMetadata } from '../../contract/artifact.js';
import { isFieldValue } from '../../contract/header-fields.js';
import { keptHeadersOf } from '../../contract/upload-metadata.js';

/** Returns the request headers of an upload with this metadata. Names are in lower case. */
export function uploadHeadersOf(metadata: UploadMetadata = {}): Record<string, string> {
  const { contentType, contentEncoding, cacheControl, headers = {} } = metadata;
  return {
    ...headers,
    ...(contentType === undefined ? {} : { 'content-type': contentType }),
    ...(contentEncoding === undefined ? {} : { 'content-encoding': contentEncoding }),
    ...(cacheControl === undefined ? {} : { 'cache-control': cacheControl }),
  };
}

/** Returns the artifact's metadata in the headers of a response. Headers that a server must not repeat are dropped. */
export function metadataOf(headers: IncomingHttpHeaders): UploadMetadata {
  const kept = keptHeadersOf(Object.entries(headers));
  return {
    contentType: valid(headers['content-type']),
    contentEncoding: valid(headers['content-encoding']),
    cacheControl: valid(headers['cache-control']),
    ...(Object.keys(kept).length === 0 ? {} : { headers: kept }),
  };
}

/** Returns a value that node:http can send. Over HTTP/2, a value can have other characters. */
function valid(value: string | undefined): string | undefined {
  return isFieldValue(value) ? value : undefined;
}
