import { HotblobError } from '../contract/errors.js';
import { type PathOptions, pathBelow, pathOf } from './paths.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';

const ROUTE = 'v1/cache/';
const ALLOW = ['GET', 'HEAD', 'PUT'];
/** Matches a hash of Nx. Nx sends decimal digits. Custom hashers can send other characters. */
const HASH = /^[A-Za-z0-9_-]{1,128}$/;

/**
 * Self-hosted remote cache protocol of Nx 20.8 and newer (`NX_SELF_HOSTED_REMOTE_CACHE_SERVER`; Nx publishes an OpenAPI
 * description): GET and PUT of `/v1/cache/{hash}` below `path` (default `''`).
 *
 * The client accepts only 200 as success. It shows an error body only if the type is text/plain without a charset
 * (observed). Every other status fails the build, except 404 for a download, and 403 and 409 for an upload
 * (packages/nx/src/native/cache/http_remote_cache.rs).
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid `path` or an unknown option
 */
export function nx(options: PathOptions = {}): Protocol {
  const path = pathOf(options, '');
  return {
    name: 'nx',
    route(request) {
      const route = pathBelow(request.path, path);
      return route?.startsWith(ROUTE) ? operationOf(request, route.slice(ROUTE.length)) : undefined;
    },
    describeError: (_status, text) => ({ contentType: 'text/plain', text }),
    failureStatus: { read: 404, write: 403 },
    existsStatus: 409,
  };
}

function operationOf({ method }: ProtocolRequest, hash: string): Operation {
  if (!HASH.test(hash)) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'path: expected a hash of 1 to 128 letters, digits, "-" and "_"');
  }
  if (method === 'GET' || method === 'HEAD') return { kind: 'read', key: hash };
  if (method === 'PUT') return { kind: 'upload', key: hash };
  return { kind: 'unsupported', key: hash, allow: ALLOW };
}
