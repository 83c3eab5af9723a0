import { HotblobError } from '../contract/errors.js';
import { decodePath, keySegment, type PathOptions, pathBelow, pathOf } from './paths.js';
import { FAILED_READ_IS_MISS, jsonReply, type Operation, type Protocol, type ProtocolRequest } from './protocol.js';

const ALLOW = ['GET', 'HEAD', 'PUT'];
const SHA256 = /^[0-9a-f]{64}$/;

/**
 * HTTP cache protocol of Bazel, which moon uses too: GET and PUT of `ac/{sha256}` and `cas/{sha256}` below `path`
 * (default `/bazel`). The URL of `--remote_cache` ends with this path. An instance name of one or more segments can
 * precede `ac` and `cas`, as in moon. Each instance has its own artifacts.
 *
 * A `cas` upload must match the SHA-256 in its path; otherwise it is answered with 400 and nothing is stored. An `ac`
 * upload (an action result) is not compared, because its key is the digest of the action. `GET status` requires no
 * access: moon requests it first, without an instance name, and disables the cache if the response is 401.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid `path` or an unknown option
 */
export function bazel(options: PathOptions = {}): Protocol {
  const path = pathOf(options, '/bazel');
  return {
    name: 'bazel',
    route: (request) => operationOf(request, pathBelow(request.path, path), path !== ''),
    failureStatus: FAILED_READ_IS_MISS,
  };
}

/** @param isExclusive whether all paths below the prefix belong to this protocol; an invalid path is then an error */
function operationOf(
  { method }: ProtocolRequest,
  route: string | undefined,
  isExclusive: boolean,
): Operation | undefined {
  if (route === undefined) return undefined;
  const isRead = method === 'GET' || method === 'HEAD';
  if (route === 'status') {
    if (!isRead) return { kind: 'unsupported', allow: ['GET', 'HEAD'] };
    return { kind: 'answer', needs: 'none', answer: () => jsonReply(200, { status: 'ok' }) };
  }
  const segments = route.split('/');
  const [kind, hash = ''] = segments.splice(-2);
  if (!((kind === 'ac' || kind === 'cas') && SHA256.test(hash) && !segments.includes(''))) {
    if (!isExclusive) return undefined;
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'path: expected ac or cas and a SHA-256 in lower-case hex');
  }
  const namespace = segments.length === 0 ? undefined : segments.map(decodePath).join('/');
  const key = `${namespace === undefined ? '' : `instances/${keySegment(namespace)}/`}${kind}/${hash}`;
  if (isRead) return { kind: 'read', namespace, key };
  if (method === 'PUT') return { kind: 'upload', namespace, key, sha256: kind === 'cas' ? hash : undefined };
  return { kind: 'unsupported', key, allow: ALLOW };
}
