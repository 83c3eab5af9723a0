import { finished } from 'node:stream/promises';
import { clientMessage } from '../contract/errors.js';
import { assertKey } from '../contract/store.js';
import { decodePath, type PathOptions, pathBelow, pathOf } from './paths.js';
import {
  type AnswerOperation,
  FAILED_READ_IS_MISS,
  jsonReply,
  type Operation,
  type Protocol,
  type ProtocolRequest,
} from './protocol.js';
import { uploadMetadata } from './request-metadata.js';
import { finiteDepthRequired, multiStatus } from './webdav-xml.js';

const ALLOW = ['GET', 'HEAD', 'PUT', 'DELETE', 'PROPFIND', 'MKCOL'];
/**
 * Maximum size of the body of a PROPFIND; clients send a few hundred bytes. The body is discarded, because the response
 * contains every property.
 */
const MAX_PROPFIND_BYTES = 64 * 1024;

/**
 * Protocol of sccache with `SCCACHE_WEBDAV_ENDPOINT`: the subset of WebDAV (RFC 4918) that sccache uses through
 * opendal. The path below `path` (default `/sccache`) is the key. If `SCCACHE_WEBDAV_KEY_PREFIX` is set, keys begin
 * with it. The first segment of the key is the namespace if it has at least two characters.
 *
 * - GET, HEAD, PUT and DELETE of an artifact: `<prefix>/a/b/c/<abc…>` (sccache, src/cache/utils.rs), and
 *   `.sccache_check`, which sccache reads and writes at startup.
 * - PROPFIND of a path with a trailing slash: a collection. Every collection is reported as existing:
 *   opendal looks up the parent before it writes, and would create it otherwise. Collections are not listed: `Depth: 1`
 *   and `Depth: infinity` are answered with 403.
 * - PROPFIND of another path: the properties of the artifact, or 404. Older versions of opendal (0.47) request the
 *   length before they read.
 * - MKCOL: 201.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid `path` or an unknown option
 */
export function sccache(options: PathOptions = {}): Protocol {
  const path = pathOf(options, '/sccache');
  return { name: 'sccache', route: (request) => route(request, path), failureStatus: FAILED_READ_IS_MISS };
}

function route(request: ProtocolRequest, path: string): Operation | undefined {
  const rest = pathBelow(request.path, path);
  if (rest === undefined) return undefined;
  // If the endpoint ends with a slash, the client sends two slashes before the key.
  const key = decodePath(rest.replace(/^\/+/, ''));
  const namespace = namespaceOf(key);
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      return { kind: 'read', key, namespace };
    case 'PUT':
      return { kind: 'upload', key, namespace, metadata: uploadMetadata(request.headers) };
    case 'DELETE':
      return { kind: 'delete', key, namespace };
    case 'PROPFIND':
      return propfind(request, path, key);
    case 'MKCOL':
      assertCollection(key);
      return { kind: 'answer', needs: 'write', namespace, answer: () => ({ status: 201 }) };
    default:
      return { kind: 'unsupported', allow: ALLOW };
  }
}

/** @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` unless `path` is empty or a key with an optional trailing slash */
function assertCollection(path: string): void {
  if (path !== '') assertKey(path.replace(/\/$/, ''));
}

/**
 * Returns the first segment of a key if it is a key prefix. Without a key prefix, the first segment is one character of
 * the artifact's name or the whole key, and there is no namespace.
 */
function namespaceOf(key: string): string | undefined {
  const end = key.indexOf('/');
  return end > 1 ? key.slice(0, end) : undefined;
}

function propfind({ headers, mountPath = '' }: ProtocolRequest, path: string, key: string): AnswerOperation {
  const isCollection = key === '' || key.endsWith('/');
  if (isCollection) assertCollection(key);
  const href = `${mountPath}${path}/${key.split('/').map(encodeURIComponent).join('/')}`;
  return {
    kind: 'answer',
    needs: 'read',
    namespace: namespaceOf(key),
    answer: async (artifacts) => {
      await finished(artifacts.body(MAX_PROPFIND_BYTES).resume());
      if (isCollection) return needsNoListing(headers['depth']) ? multiStatus({ href }) : finiteDepthRequired();
      const artifact = await artifacts.describe(key);
      if (artifact === undefined) return jsonReply(404, { message: clientMessage(404) });
      return multiStatus({ href, artifact });
    },
  };
}

/**
 * Returns whether a PROPFIND with this `Depth` asks only for the resource itself, not for its members. A missing
 * `Depth` header counts as `0`, because clients that omit it mean the resource itself.
 */
function needsNoListing(depth: string | string[] | undefined): boolean {
  return depth === undefined || depth === '0';
}
