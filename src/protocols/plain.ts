import { decodePath } from './paths.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';
import { uploadMetadata } from './request-metadata.js';

const ALLOW = ['GET', 'HEAD', 'PUT', 'DELETE'];

/** Protocol in which the path is the key: GET, HEAD, PUT and DELETE of `/<key>`. Keys have no prefix in the store. */
export function plain(): Protocol {
  return { name: 'plain', keyPrefix: '', route };
}

function route({ method, path, headers }: ProtocolRequest): Operation {
  const key = decodePath(path.slice(1));
  switch (method) {
    case 'GET':
    case 'HEAD':
      return { kind: 'read', key };
    case 'PUT':
      return { kind: 'upload', key, metadata: uploadMetadata(headers) };
    case 'DELETE':
      return { kind: 'delete', key };
    default:
      return { kind: 'unsupported', key, allow: ALLOW };
  }
}
