import { keyBelow, type PathOptions, pathFrom } from './paths.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';

const ALLOW = ['GET', 'HEAD', 'PUT'];
/** 72 digits from the bundler, fewer where the store is used directly. */
const KEY = /^[0-9a-f]{2,128}$/i;
const EXPECTED = 'a key of Metro: 2 to 128 hexadecimal digits';

/**
 * The HttpStore of Metro, React Native's bundler: GET and PUT of `{key}` below `path` (default `/metro`), which is the
 * store's `endpoint`. Bodies are gzip without saying so, and stay what they are.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function metro(options: PathOptions = {}): Protocol {
  const path = pathFrom(options, '/metro');
  return { name: 'metro', route: (request) => operationOf(request, keyBelow(request.path, path, KEY, EXPECTED)) };
}

function operationOf({ method }: ProtocolRequest, text: string | undefined): Operation | undefined {
  if (text === undefined) return undefined;
  const key = text.toLowerCase();
  if (method === 'GET' || method === 'HEAD') return { kind: 'read', key };
  if (method === 'PUT') return { kind: 'upload', key };
  return { kind: 'unsupported', key, allow: ALLOW };
}
