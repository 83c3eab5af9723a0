import { HotblobError } from '../contract/errors.js';
import { type PathOptions, pathBelow, pathOf } from './paths.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';

const ROUTE = 'v1/cache/';
const ALLOW = ['GET', 'HEAD', 'PUT'];
/** Matches a hash of Nx. Nx sends decimal digits. Custom hashers can send other characters. */
const HASH = /^[A-Za-z0-9_-]{1,128}$/;
/** Status codes of uploads that are not stored: read-only store, body too large, disk full. */
const NOT_STORED = new Set([405, 413, 507]);

/**
 * Self-hosted remote cache protocol of Nx 20.8 and newer (`NX_SELF_HOSTED_REMOTE_CACHE_SERVER`; Nx publishes an OpenAPI
 * description): GET and PUT of `/v1/cache/{hash}` below `path` (default `''`).
 *
 * The client accepts only 200 as success. It shows an error body only if the type is text/plain without a charset
 * (observed). A failed upload fails the build, except with 403, which the client takes for a read-only cache. Uploads
 * that cannot be stored (405, 413, 507) are therefore answered with 403.
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
    errorStatus: (status, method) => (method === 'PUT' && NOT_STORED.has(status) ? 403 : status),
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
