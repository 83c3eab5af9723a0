import { HotblobError } from '../errors.js';
import { below, keySegment, type PathOptions, pathFrom } from './paths.js';
import { jsonReply, type Operation, type Protocol, type ProtocolRequest } from './protocol.js';

const ALLOW = ['GET', 'HEAD', 'PUT'];
/** What stands before `ac` and `cas` names an instance; it may have several segments. */
const ROUTE = /^(?:(.+)\/)?(ac|cas)\/([^/]*)$/;
const SHA256 = /^[0-9a-f]{64}$/;

/**
 * The HTTP cache of Bazel, and of those that speak as it does (moon, Buck2, Pants): GET and PUT of `ac/{sha256}` and
 * `cas/{sha256}` below `path` (default `/bazel`), also with an instance before them, which has artifacts of its own. `path`
 * is what `--remote_cache` ends with.
 *
 * What goes into the CAS is compared with its key; else 400, and nothing is kept. Action results (`ac`) are named by
 * something else than their bytes. `GET status` is what moon asks first.
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
  if (route === 'status' && isRead) {
    return { kind: 'answer', needs: 'read', answer: () => jsonReply(200, { status: 'ok' }) };
  }
  const [, instance, kind, hash = ''] = ROUTE.exec(route) ?? [];
  if (kind === undefined || !SHA256.test(hash)) {
    if (!ownsAll) return undefined;
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'expected ac or cas, and a SHA-256 in lower-case hex');
  }
  const namespace = instance;
  const key = `${instance === undefined ? '' : `instances/${keySegment(instance)}/`}${kind}/${hash}`;
  if (isRead) return { kind: 'read', namespace, key };
  if (method === 'PUT') return { kind: 'upload', namespace, key, sha256: kind === 'cas' ? hash : undefined };
  return { kind: 'unsupported', key, allow: ALLOW };
}
