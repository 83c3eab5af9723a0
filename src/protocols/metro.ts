import { keyBelow, type PathOptions, pathOf } from './paths.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';

const ALLOW = ['GET', 'HEAD', 'PUT'];
/** Matches a key of Metro. The bundler sends 72 digits. Programs that use HttpStore directly may send fewer. */
const KEY = /^[0-9a-f]{2,128}$/i;
const EXPECTED = 'a Metro key of 2 to 128 hexadecimal digits';

/**
 * Protocol of the HttpStore of Metro, the bundler of React Native: GET and PUT of `{key}` below `path` (default
 * `/metro`). The `endpoint` of the store ends with this path. Metro sends gzip bodies without `Content-Encoding`; they
 * are stored unchanged. A download with a status other than 200 and 404 fails the build (HttpStore.js, Transformer.js). So
 * did an upload with a status other than 2xx in older versions.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid `path` or an unknown option
 */
export function metro(options: PathOptions = {}): Protocol {
  const path = pathOf(options, '/metro');
  return {
    name: 'metro',
    route: (request) => operationOf(request, keyBelow(request.path, path, KEY, EXPECTED)),
    failureStatus: { read: 404, write: 202 },
  };
}

function operationOf({ method }: ProtocolRequest, text: string | undefined): Operation | undefined {
  if (text === undefined) return undefined;
  const key = text.toLowerCase();
  if (method === 'GET' || method === 'HEAD') return { kind: 'read', key };
  if (method === 'PUT') return { kind: 'upload', key };
  return { kind: 'unsupported', key, allow: ALLOW };
}
