import { keyBelow, type PathOptions, pathOf } from './paths.js';
import { FAILED_READ_IS_MISS, type Operation, type Protocol, type ProtocolRequest } from './protocol.js';

const ALLOW = ['GET', 'HEAD', 'PUT', 'DELETE'];
/**
 * Matches a key of ccache. Keys in the layouts `subdirs` (a slash after two digits) and `flat` have 33 digits in base
 * 32 (ccache up to 4) or 40 digits in base 16 (storage helpers). Keys in the layout `bazel` are `ac/` and 64 digits,
 * which are not the SHA-256 of the body.
 */
const KEY = /^(?:[0-9a-v]{2}\/?[0-9a-v]{31}|[0-9a-f]{2}\/?[0-9a-f]{38}|ac\/[0-9a-f]{64})$/;
const EXPECTED = 'a ccache key in the layout subdirs, flat or bazel';

/**
 * HTTP storage protocol of ccache in the layouts `subdirs`, `flat` and `bazel`: GET, HEAD, PUT and DELETE below `path`
 * (default `/ccache`). The URL of `remote_storage` ends with this path.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid `path` or an unknown option
 */
export function ccache(options: PathOptions = {}): Protocol {
  const path = pathOf(options, '/ccache');
  return {
    name: 'ccache',
    route: (request) => operationOf(request, keyBelow(request.path, path, KEY, EXPECTED)),
    failureStatus: FAILED_READ_IS_MISS,
  };
}

function operationOf({ method }: ProtocolRequest, key: string | undefined): Operation | undefined {
  if (key === undefined) return undefined;
  if (method === 'GET' || method === 'HEAD') return { kind: 'read', key };
  if (method === 'PUT') return { kind: 'upload', key };
  if (method === 'DELETE') return { kind: 'delete', key };
  return { kind: 'unsupported', key, allow: ALLOW };
}
