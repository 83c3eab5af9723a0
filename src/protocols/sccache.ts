import { finished } from 'node:stream/promises';
import { clientMessage } from '../contract/errors.js';
import { assertKey } from '../contract/store.js';
import { below, decodePath, type PathOptions, pathFrom } from './paths.js';
import { type AnswerOperation, jsonReply, type Operation, type Protocol, type ProtocolRequest } from './protocol.js';
import { uploadMetadata } from './request-metadata.js';
import { finiteDepth, multiStatus } from './webdav-xml.js';

const ALLOW = ['GET', 'HEAD', 'PUT', 'DELETE', 'PROPFIND', 'MKCOL'];
/** What clients send with a PROPFIND has some hundred bytes; which properties it asks for makes no difference here. */
const MAX_PROPFIND_BYTES = 64 * 1024;

/**
 * sccache with `SCCACHE_WEBDAV_ENDPOINT`, which speaks WebDAV (RFC 4918) through opendal, and as much of WebDAV as that
 * needs. A path below `path` (default
 * `/sccache`) is the key; `SCCACHE_WEBDAV_KEY_PREFIX` comes first in it, and its first segment is the
 * namespace, if it has two characters at least.
 *
 * - GET, HEAD and PUT: the artifact, at `<prefix>/a/b/c/<abc…>` (sccache, src/cache/utils.rs), and `.sccache_check`, which
 *   is read and written at the start; DELETE.
 * - PROPFIND of a path with a slash at its end: a collection. All of them are there, so that opendal, which looks at the
 *   parent of what it is about to write, makes none. Of any other path: the artifact, or 404; older opendal (0.47) asks for
 *   its length before it reads. Nothing is listed: `Depth: 1` and `infinity` of a collection are 403.
 * - MKCOL: 201. opendal accepts 405 as well (core/services/webdav/src/core.rs).
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function sccache(options: PathOptions = {}): Protocol {
  const path = pathFrom(options, '/sccache');
  return { name: 'sccache', route: (request) => route(request, path) };
}

function route(request: ProtocolRequest, path: string): Operation | undefined {
  const rest = below(request.path, path);
  if (rest === undefined) return undefined;
  // With a slash at the end of the endpoint, its URLs have two.
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

/** The path of a collection is a key, but for a slash at its end, or nothing at all. */
function assertCollection(path: string): void {
  if (path !== '') assertKey(path.replace(/\/$/, ''));
}

/** Without a prefix, the first segment is a character of the artifact's name, or the name of a file. */
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
      if (isCollection) return canBeAnswered(headers['depth']) ? multiStatus({ href }) : finiteDepth();
      const artifact = await artifacts.describe(key);
      if (artifact === undefined) return jsonReply(404, { message: clientMessage(404) });
      return multiStatus({ href, artifact });
    },
  };
}

/** Whether a PROPFIND of that depth need not list what is in a collection. Without a depth, clients mean the resource. */
function canBeAnswered(depth: string | string[] | undefined): boolean {
  return depth === undefined || depth === '0';
}
