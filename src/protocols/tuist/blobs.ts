import { decodePath } from '../paths.js';
import type { Operation, ProtocolRequest, Reply, UploadOperation } from '../protocol.js';
import { uploadMetadata } from '../request-metadata.js';
import { CHECKSUM_HEADER, checksumOf } from './checksum.js';
import type { Generations } from './generations.js';
import { encodeName, projectOf } from './project.js';

/** Route of artifacts that are uploaded in one request. */
export interface BlobRoute {
  /** Path before the artifact's id, without a trailing slash. */
  readonly path: string;
  /** Segment before the id in a key, so that keys of different routes differ. */
  readonly kind: string;
  readonly upload: 'PUT' | 'POST';
  readonly maxBytes: number;
  readonly reply: UploadOperation['reply'];
  /**
   * Whether another protocol uses the path too. Requests without a tenant and a namespace are then passed to that
   * protocol.
   */
  readonly isShared: boolean;
}

const MIB = 1024 * 1024;
const ok = (): Reply => ({ status: 200 });

/**
 * Routes of blobs. Their limits and status codes are those of Kura (tuist/tuist, kura/src/constants.rs and
 * kura/src/http.rs).
 */
export const BLOB_ROUTES: readonly BlobRoute[] = [
  {
    path: '/api/cache/cas',
    kind: 'cas',
    upload: 'POST',
    maxBytes: 256 * MIB,
    reply: () => ({ status: 204 }),
    isShared: false,
  },
  {
    path: '/api/cache/gradle',
    kind: 'gradle',
    upload: 'PUT',
    maxBytes: 100 * MIB,
    reply: ({ created }) => ({ status: created ? 201 : 200 }),
    isShared: false,
  },
  { path: '/v1/cache', kind: 'nx', upload: 'PUT', maxBytes: 2048 * MIB, reply: ok, isShared: true },
  { path: '/api/metro/cache', kind: 'metro', upload: 'PUT', maxBytes: 2048 * MIB, reply: ok, isShared: true },
];

/**
 * Returns the operation for a request to a blob route.
 *
 * @param rest path after the route and its slash: the id of the artifact
 */
export function blobOperation(
  { kind, upload, maxBytes, reply }: BlobRoute,
  { method, query, headers }: ProtocolRequest,
  rest: string,
  generations: Generations,
): Operation {
  const id = encodeName(decodePath(rest));
  const keyOf = (prefix: string): string => `${prefix}/${kind}/${id}`;
  if (method === 'GET' || method === 'HEAD') {
    return generations.read(projectOf(query), keyOf);
  }
  if (method !== upload) return { kind: 'unsupported', allow: ['GET', 'HEAD', upload] };
  const namespace = projectOf(query);
  const sha256 = checksumOf(headers[CHECKSUM_HEADER]);
  const digest = sha256 === undefined ? undefined : ({ algorithm: 'sha256', hex: sha256 } as const);
  const declared = sha256 === undefined ? headers : { ...headers, [CHECKSUM_HEADER]: sha256 };
  const metadata = uploadMetadata(declared, [CHECKSUM_HEADER]);
  return generations.upload(namespace, (prefix) => {
    return { kind: 'upload', namespace, key: keyOf(prefix), maxBytes, metadata, digest, mismatch: 422, reply };
  });
}
