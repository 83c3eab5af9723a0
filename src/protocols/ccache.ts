import { keyBelow, type PathOptions, pathFrom } from './paths.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';

const ALLOW = ['GET', 'HEAD', 'PUT', 'DELETE'];
/**
 * Layouts subdirs (the first two digits are a directory) and flat: 33 digits in base 32 up to ccache 4, 40 in base 16 from
 * its storage helpers. Layout bazel: `ac/` and 64 digits, which are the same hash again and not that of the body.
 */
const KEY = /^(?:[0-9a-v]{2}\/?[0-9a-v]{31}|[0-9a-f]{2}\/?[0-9a-f]{38}|ac\/[0-9a-f]{64})$/;
const EXPECTED = 'a key of ccache, in its layout subdirs, flat or bazel';

/**
 * The HTTP storage of ccache, in its layouts subdirs, flat and bazel: GET, HEAD, PUT and DELETE below `path` (default
 * `/ccache`), which is the path of the URL in `remote_storage`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function ccache(options: PathOptions = {}): Protocol {
  const path = pathFrom(options, '/ccache');
  return { name: 'ccache', route: (request) => operationOf(request, keyBelow(request.path, path, KEY, EXPECTED)) };
}

function operationOf({ method }: ProtocolRequest, key: string | undefined): Operation | undefined {
  if (key === undefined) return undefined;
  if (method === 'GET' || method === 'HEAD') return { kind: 'read', key };
  if (method === 'PUT') return { kind: 'upload', key };
  if (method === 'DELETE') return { kind: 'delete', key };
  return { kind: 'unsupported', key, allow: ALLOW };
}
