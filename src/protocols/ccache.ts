import { HotblobError } from '../errors.js';
import { below, type PathOptions, pathFrom } from './paths.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';

const ALLOW = ['GET', 'HEAD', 'PUT', 'DELETE'];
/** Layouts "subdirs" (two digits of the key are a directory) and "flat": base 32, or hexadecimal in later versions. */
const KEY = /^(?:[0-9a-v]{2}\/)?[0-9a-v]{20,64}$/;
/** Layout "bazel": the hash is ccache's own, not that of the body. */
const BAZEL_KEY = /^ac\/[0-9a-f]{64}$/;

/**
 * The HTTP storage of ccache, in its layouts subdirs, flat and bazel: GET, HEAD, PUT and DELETE below `path` (default
 * `/ccache`), which is the path of the URL in `remote_storage`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function ccache(options: PathOptions = {}): Protocol {
  const path = pathFrom(options, '/ccache');
  return { name: 'ccache', route: (request) => operationOf(request, below(request.path, path)) };
}

function operationOf({ method }: ProtocolRequest, key: string | undefined): Operation | undefined {
  if (key === undefined) return undefined;
  if (!KEY.test(key) && !BAZEL_KEY.test(key)) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a key of ccache is one of its layouts subdirs, flat and bazel');
  }
  if (method === 'GET' || method === 'HEAD') return { kind: 'read', key };
  if (method === 'PUT') return { kind: 'upload', key };
  if (method === 'DELETE') return { kind: 'delete', key };
  return { kind: 'unsupported', key, allow: ALLOW };
}
