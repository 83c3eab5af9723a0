import { keyBelow, type PathOptions, pathOf } from './paths.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';
import { uploadMetadata } from './request-metadata.js';

const ALLOW = ['GET', 'HEAD', 'PUT'];
/** Matches a key of Gradle. Gradle sends 32 digits. Longer keys are accepted for future hash functions. */
const KEY = /^[0-9a-f]{32,128}$/;
const EXPECTED = 'a Gradle key of 32 to 128 lower-case hexadecimal digits';

/**
 * Protocol of Gradle's HttpBuildCache: GET and PUT of `{key}` below `path` (default `/gradle`). The `url` of the build
 * cache ends with this path. After a status other than 2xx, and 404 for a download, Gradle disables the cache for the
 * rest of the build (HttpBuildCacheService.java).
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid `path` or an unknown option
 */
export function gradle(options: PathOptions = {}): Protocol {
  const path = pathOf(options, '/gradle');
  return {
    name: 'gradle',
    route: (request) => operationOf(request, keyBelow(request.path, path, KEY, EXPECTED)),
    failureStatus: { read: 404, write: 202 },
  };
}

function operationOf({ method, headers }: ProtocolRequest, key: string | undefined): Operation | undefined {
  if (key === undefined) return undefined;
  if (method === 'GET' || method === 'HEAD') return { kind: 'read', key };
  if (method === 'PUT') return { kind: 'upload', key, metadata: uploadMetadata(headers) };
  return { kind: 'unsupported', key, allow: ALLOW };
}
