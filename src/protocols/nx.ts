import { HotblobError } from '../errors.js';
import { below, type PathOptions, pathFrom } from './paths.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';

const ALLOW = ['GET', 'PUT'];
/** Decimal digits, as Nx makes them; custom hashers may make others. */
const HASH = /^[A-Za-z0-9_-]{1,128}$/;

/**
 * The remote cache that Nx 20.8 and newer speak to with NX_SELF_HOSTED_REMOTE_CACHE_SERVER (its OpenAPI description of a
 * self-hosted cache): GET and PUT of `/v1/cache/{hash}` below `path` (default `''`).
 *
 * Nx takes nothing but 200 for a success, and shows errors only as text/plain without a charset; both seen on the wire.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function nx(options: PathOptions = {}): Protocol {
  const routes = `${pathFrom(options, '')}/v1/cache`;
  return {
    name: 'nx',
    route: (request) => operationOf(request, below(request.path, routes)),
    describeError: (_status, text) => ({ contentType: 'text/plain', text }),
  };
}

function operationOf({ method }: ProtocolRequest, hash: string | undefined): Operation | undefined {
  if (hash === undefined) return undefined;
  if (!HASH.test(hash))
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a hash of Nx has letters, digits, "-" and "_"');
  if (method === 'GET' || method === 'HEAD') return { kind: 'read', key: hash };
  if (method === 'PUT') return { kind: 'upload', key: hash };
  return { kind: 'unsupported', key: hash, allow: ALLOW };
}
