import { HotblobError } from '../contract/errors.js';
import { namespaceOf, type PathOptions, pathBelow, pathOf } from './paths.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';
import { uploadMetadata } from './request-metadata.js';

const ALLOW = ['GET', 'HEAD', 'PUT'];
/** Matches a key of Gradle. Gradle sends 32 digits. Longer keys are accepted for future hash functions. */
const KEY = /^[0-9a-f]{32,128}$/;

/**
 * Protocol of Gradle's HttpBuildCache: GET and PUT of `{key}` below `path` (default `/gradle`). The `url` of the build
 * cache ends with this path. A namespace of one or more segments can precede the key. Each namespace has its own artifacts.
 * After a status other than 2xx, and 404 for a download, Gradle disables the cache for the rest of the build
 * (HttpBuildCacheService.java).
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid `path` or an unknown option
 */
export function gradle(options: PathOptions = {}): Protocol {
  const path = pathOf(options, '/gradle');
  return {
    name: 'gradle',
    route: (request) => operationOf(request, pathBelow(request.path, path), path !== ''),
    failureStatus: { read: 404, write: 202 },
  };
}

/** @param isExclusive whether all paths below the prefix belong to this protocol; an invalid path is then an error */
function operationOf(
  { method, headers }: ProtocolRequest,
  rest: string | undefined,
  isExclusive: boolean,
): Operation | undefined {
  if (rest === undefined) return undefined;
  const segments = rest.split('/');
  const [hash = ''] = segments.splice(-1);
  if (!KEY.test(hash)) {
    if (!isExclusive) return undefined;
    throw new HotblobError(
      'ERR_HOTBLOB_INVALID_KEY',
      'path: expected a Gradle key of 32 to 128 lower-case hexadecimal digits',
    );
  }
  const { namespace, prefix } = namespaceOf(segments, 'namespaces');
  const key = prefix + hash;
  if (method === 'GET' || method === 'HEAD') return { kind: 'read', namespace, key };
  if (method === 'PUT') return { kind: 'upload', namespace, key, metadata: uploadMetadata(headers) };
  return { kind: 'unsupported', key, allow: ALLOW };
}
