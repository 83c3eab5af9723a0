import { HotblobError } from '../../contract/errors.js';
import { assertOptions, FLAG } from '../../contract/validation.js';
import { type NamespacePrefix, namespaceOf, PATH, type PathOptions, pathBelow } from '../paths.js';
import {
  FAILED_READ_IS_MISS,
  jsonReply,
  type Operation,
  type Protocol,
  type ProtocolArtifacts,
  type ProtocolRequest,
  type Reply,
  type UploadDigest,
} from '../protocol.js';
import { hasBlobs } from './has-blobs.js';

/** Options of {@link bazel}. */
export interface BazelOptions extends PathOptions {
  /**
   * Whether an action result is a miss if a blob to which it refers is missing. Set it to `false` if a tool stores something
   * else than action results below `ac`. Default: true.
   */
  readonly checkActionResults?: boolean | undefined;
}

const ALLOW = ['GET', 'HEAD', 'PUT'];
/** Digest functions of Bazel by the length of their hash in hexadecimal digits. */
const ALGORITHMS: ReadonlyMap<number, UploadDigest['algorithm']> = new Map([
  [40, 'sha1'],
  [64, 'sha256'],
  [96, 'sha384'],
  [128, 'sha512'],
]);
/** Last segment of the name of an instance whose digests are BLAKE3, as in resource names of the Remote Execution API. */
const BLAKE3 = 'blake3';
const HEX = /^[0-9a-f]+$/;

/** Part of a request that the path determines. */
interface Target extends NamespacePrefix {
  readonly kind: 'ac' | 'cas';
  readonly hash: string;
  /** Function that the hashes are from; undefined if it cannot be computed. */
  readonly algorithm: UploadDigest['algorithm'] | undefined;
}

/**
 * HTTP cache protocol of Bazel, which moon uses too: GET and PUT of `ac/{hash}` and `cas/{hash}` below `path` (default
 * `/bazel`). The URL of `--remote_cache` ends with this path. An instance name of one or more segments can precede `ac` and
 * `cas`, as in moon. Each instance has its own artifacts. The hash is SHA-1, SHA-256, SHA-384 or SHA-512 in lower-case hex.
 *
 * A `cas` upload must match the hash in its path; otherwise it is answered with 400 and nothing is stored. If the last
 * segment of the instance name is `blake3`, hashes of 64 digits are BLAKE3 (`--digest_function=blake3`), and such uploads are
 * not compared.
 *
 * An `ac` download (an action result) is a miss if one of its blobs is missing, because Bazel cannot always run an action
 * again for which it has accepted the result. The check counts as a use of the blobs. Bytes that are not an action result
 * are sent unchecked. An empty action result is a miss, because it fails a build, and its upload is answered with 400.
 *
 * `GET status` requires no access: moon requests it first, without an instance name, and disables the cache if the response
 * is 401.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid value or an unknown option
 */
export function bazel(options: BazelOptions = {}): Protocol {
  assertOptions(options, { path: PATH, checkActionResults: FLAG });
  const { path = '/bazel', checkActionResults = true } = options;
  return {
    name: 'bazel',
    route: (request) =>
      routeGrpc(request) ?? route(request, pathBelow(request.path, path), path !== '', checkActionResults),
    failureStatus: FAILED_READ_IS_MISS,
  };
}

/** Paths of the gRPC services that Bazel uses with `--remote_cache=grpc://`. */
const GRPC_PATH = /^\/(?:build\.bazel\.|google\.bytestream\.)/;
/** Status UNIMPLEMENTED of gRPC. Bazel prints the message. */
const NO_GRPC: Reply = {
  status: 200,
  headers: {
    'content-type': 'application/grpc',
    'grpc-status': '12',
    'grpc-message': 'hotblob does not speak gRPC: use --remote_cache=http://HOST:PORT/bazel (TLS: https://)',
  },
};

/** Answers a client that speaks gRPC. */
function routeGrpc({ method, path, headers }: ProtocolRequest): Operation | undefined {
  const isGrpc = method === 'POST' && headers['content-type']?.startsWith('application/grpc') && GRPC_PATH.test(path);
  return isGrpc ? { kind: 'answer', needs: 'none', answer: () => NO_GRPC } : undefined;
}

/** @param isExclusive whether all paths below the prefix belong to this protocol; an invalid path is then an error */
function route(
  request: ProtocolRequest,
  rest: string | undefined,
  isExclusive: boolean,
  checkActionResults: boolean,
): Operation | undefined {
  if (rest === undefined) return undefined;
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  if (rest === 'status') {
    if (!isRead) return { kind: 'unsupported', allow: ['GET', 'HEAD'] };
    return { kind: 'answer', needs: 'none', answer: () => jsonReply(200, { status: 'ok' }) };
  }
  const target = targetOf(rest);
  if (target === undefined) {
    if (!isExclusive) return undefined;
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'path: expected ac or cas and a hash in lower-case hex');
  }
  const { namespace, kind, hash } = target;
  const key = `${target.prefix}${kind}/${hash}`;
  if (isRead) {
    if (kind === 'cas' || !checkActionResults) return { kind: 'read', namespace, key };
    const check = (artifacts: ProtocolArtifacts) => hasBlobs(artifacts, key, `${target.prefix}cas/`);
    return { kind: 'read', namespace, key, check };
  }
  if (request.method === 'PUT') return upload(request, target, key);
  return { kind: 'unsupported', key, allow: ALLOW };
}

function targetOf(rest: string): Target | undefined {
  const segments = rest.split('/');
  const [kind, hash = ''] = segments.splice(-2);
  const algorithm = ALGORITHMS.get(hash.length);
  if (!((kind === 'ac' || kind === 'cas') && algorithm !== undefined && HEX.test(hash) && !segments.includes(''))) {
    return undefined;
  }
  const isBlake3 = algorithm === 'sha256' && segments.at(-1) === BLAKE3;
  return {
    kind,
    hash,
    ...namespaceOf(segments, 'instances'),
    algorithm: isBlake3 ? undefined : algorithm,
  };
}

function upload({ headers }: ProtocolRequest, { kind, hash, namespace, algorithm }: Target, key: string): Operation {
  if (kind === 'ac' && headers['content-length'] === '0') {
    throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', 'upload: expected an action result, received an empty body');
  }
  const digest = kind === 'cas' && algorithm !== undefined ? { algorithm, hex: hash } : undefined;
  return { kind: 'upload', namespace, key, digest, contentAddressed: kind === 'cas' };
}
