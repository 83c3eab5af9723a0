import { HotblobError } from '../errors.js';
import type { Operation, Protocol, ProtocolRequest } from './protocol.js';
import { uploadMetadata } from './upload-metadata.js';

const ALLOW = ['GET', 'HEAD', 'PUT', 'DELETE'];
const ENCODED_SEPARATOR = /%2f|%5c/i;

/** The path is the key, whatever the tool: GET, HEAD, PUT and DELETE of `/<key>`. */
export function plain(): Protocol {
  return { name: 'plain', keyPrefix: '', route };
}

function route({ method, path, headers }: ProtocolRequest): Operation {
  const encoded = path.slice(1);
  const key = encoded.includes('%') ? decode(encoded) : encoded;
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

function decode(encoded: string): string {
  // Once decoded, nobody could tell it from a separator.
  if (ENCODED_SEPARATOR.test(encoded))
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a key has no encoded slashes');
  try {
    return decodeURIComponent(encoded);
  } catch (cause) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a key is percent-encoded UTF-8', { cause });
  }
}
