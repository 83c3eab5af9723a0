import { HotblobError } from '../contract/errors.js';
import { below, decodePath, keySegment, type PathOptions, pathFrom } from './paths.js';
import { jsonReply, type Operation, type Protocol, type ProtocolRequest } from './protocol.js';

const ALLOW = ['GET', 'HEAD', 'PUT'];
const SHA256 = /^[0-9a-f]{64}$/;

/**
 * The HTTP cache of Bazel, and of those that speak as it does (moon, Buck2, Pants): GET and PUT of `ac/{sha256}` and
 * `cas/{sha256}` below `path` (default `/bazel`), which is what `--remote_cache` ends with. An instance before them, of one
 * or more segments, as moon has it, has artifacts of its own.
 *
 * What goes into the CAS is compared with its key; else 400, and nothing is kept. Action results (`ac`) are named by
 * something else than their bytes. `GET status` is what moon asks first. It is answered to everybody: it names no instance,
 * and moon goes without the cache where it gets 401.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function bazel(options: PathOptions = {}): Protocol {
  const path = pathFrom(options, '/bazel');
  return { name: 'bazel', route: (request) => operationOf(request, below(request.path, path), path !== '') };
}

/** `ownsAll`: whether every path here is this protocol's, or is perhaps another one's. */
function operationOf({ method }: ProtocolRequest, route: string | undefined, ownsAll: boolean): Operation | undefined {
  if (route === undefined) return undefined;
  const isRead = method === 'GET' || method === 'HEAD';
  if (route === 'status') {
    if (!isRead) return { kind: 'unsupported', allow: ['GET', 'HEAD'] };
    return { kind: 'answer', needs: 'none', answer: () => jsonReply(200, { status: 'ok' }) };
  }
  const segments = route.split('/');
  const [kind, hash = ''] = segments.splice(-2);
  if (!((kind === 'ac' || kind === 'cas') && SHA256.test(hash) && !segments.includes(''))) {
    if (!ownsAll) return undefined;
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'expected ac or cas, and a SHA-256 in lower-case hex');
  }
  const namespace = segments.length === 0 ? undefined : segments.map(decodePath).join('/');
  const key = `${namespace === undefined ? '' : `instances/${keySegment(namespace)}/`}${kind}/${hash}`;
  if (isRead) return { kind: 'read', namespace, key };
  if (method === 'PUT') return { kind: 'upload', namespace, key, sha256: kind === 'cas' ? hash : undefined };
  return { kind: 'unsupported', key, allow: ALLOW };
}
