import { HotblobError } from '../contract/errors.js';
import { below, type PathOptions, pathFrom } from './paths.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';

const ROUTE = 'v1/cache/';
const ALLOW = ['GET', 'HEAD', 'PUT'];
/** Decimal digits, as Nx makes them; custom hashers may make others. */
const HASH = /^[A-Za-z0-9_-]{1,128}$/;
/** The store is read-only, the artifact too large, the disk full. */
const NOT_KEPT = new Set([405, 413, 507]);

/**
 * The remote cache that Nx 20.8 and newer speak to with NX_SELF_HOSTED_REMOTE_CACHE_SERVER (its OpenAPI description of a
 * self-hosted cache): GET and PUT of `/v1/cache/{hash}` below `path` (default `''`).
 *
 * Nx takes nothing but 200 for a success, and shows errors only as text/plain without a charset; both seen on the wire.
 * An upload that fails fails the build, unless with 403, which is to Nx that the server keeps no more: so whatever means
 * that is answered with 403.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function nx(options: PathOptions = {}): Protocol {
  const path = pathFrom(options, '');
  return {
    name: 'nx',
    route(request) {
      const route = below(request.path, path);
      return route?.startsWith(ROUTE) ? operationOf(request, route.slice(ROUTE.length)) : undefined;
    },
    describeError: (_status, text) => ({ contentType: 'text/plain', text }),
    errorStatus: (status, method) => (method === 'PUT' && NOT_KEPT.has(status) ? 403 : status),
  };
}

function operationOf({ method }: ProtocolRequest, hash: string): Operation {
  if (!HASH.test(hash)) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a hash of Nx has letters, digits, "-" and "_"');
  }
  if (method === 'GET' || method === 'HEAD') return { kind: 'read', key: hash };
  if (method === 'PUT') return { kind: 'upload', key: hash };
  return { kind: 'unsupported', key: hash, allow: ALLOW };
}
