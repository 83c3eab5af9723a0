import { decodePath, type PathOptions, pathBelow, pathOf } from './paths.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';
import { uploadMetadata } from './request-metadata.js';

const ALLOW = ['GET', 'HEAD', 'PUT', 'POST', 'PATCH'];

/**
 * Protocol of the HTTP build cache of Rush (`@rushstack/rush-http-build-cache-plugin`): GET of a key below `path` (default
 * `/rush`), and an upload by PUT, POST or PATCH, according to `uploadMethod`. The `url` of the plugin ends with this path.
 * The key is the rest of the path. Its first segment is the namespace if there are further segments.
 *
 * If an upload fails, Rush builds with a warning, for which a production build exits with an error
 * (CacheableOperationPlugin.ts).
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid `path` or an unknown option
 */
export function rush(options: PathOptions = {}): Protocol {
  const path = pathOf(options, '/rush');
  return {
    name: 'rush',
    route: (request) => operationOf(request, pathBelow(request.path, path)),
    failureStatus: { read: 404, write: 202 },
  };
}

function operationOf({ method, headers }: ProtocolRequest, rest: string | undefined): Operation | undefined {
  if (rest === undefined) return undefined;
  const key = decodePath(rest);
  const end = key.indexOf('/');
  const namespace = end === -1 ? undefined : key.slice(0, end);
  switch (method) {
    case 'GET':
    case 'HEAD':
      return { kind: 'read', namespace, key };
    case 'PUT':
    case 'POST':
    case 'PATCH':
      return { kind: 'upload', namespace, key, metadata: uploadMetadata(headers) };
    default:
      return { kind: 'unsupported', key, allow: ALLOW };
  }
}
