import { keyBelow, type PathOptions, pathFrom } from './paths.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';
import { uploadMetadata } from './request-metadata.js';

const ALLOW = ['GET', 'HEAD', 'PUT'];
/** 32 digits; room for longer hashes. */
const KEY = /^[0-9a-f]{32,128}$/;
const EXPECTED = 'a key of Gradle: 32 to 128 hexadecimal digits';

/**
 * Gradle's HttpBuildCache: GET and PUT of `{key}` below `path` (default `/gradle`), which is its `url`. Any 2xx is a
 * success and 404 a miss; whatever else comes, Gradle leaves the cache alone for the rest of the build (413 excepted).
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function gradle(options: PathOptions = {}): Protocol {
  const path = pathFrom(options, '/gradle');
  return { name: 'gradle', route: (request) => operationOf(request, keyBelow(request.path, path, KEY, EXPECTED)) };
}

function operationOf({ method, headers }: ProtocolRequest, key: string | undefined): Operation | undefined {
  if (key === undefined) return undefined;
  if (method === 'GET' || method === 'HEAD') return { kind: 'read', key };
  if (method === 'PUT') return { kind: 'upload', key, metadata: uploadMetadata(headers) };
  return { kind: 'unsupported', key, allow: ALLOW };
}
