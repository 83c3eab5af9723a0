import { assertOptions, countFrom, type OptionCheck } from '../../contract/validation.js';
import { PATH, type PathOptions } from '../paths.js';
import type { Operation, Protocol, ProtocolRequest } from '../protocol.js';
import { BLOB_ROUTES, blobOperation } from './blobs.js';
import { Generations } from './generations.js';
import { keyValueRoute } from './key-values.js';
import { ModuleUploads } from './module-uploads.js';
import { Modules } from './modules.js';
import { hasScope, scopeOf } from './scope.js';

/** What {@link tuist} takes. */
export interface TuistOptions extends PathOptions {
  /**
   * A directory for the parts of modules that are being uploaded, on a file system that outlives the machine's restart;
   * made when it is needed. Processes may share it. Without it modules are served, but not taken: 405.
   */
  readonly uploadsDir?: string | undefined;
  /** So long after its last part an upload in parts is kept, in milliseconds. Default: 24 hours. */
  readonly uploadTtlMs?: number | undefined;
  /** Uploads in parts that may be under way, each of 2 GiB at most; one more is 503. Default: 256. */
  readonly maxUploads?: number | undefined;
}

const CHECKS: Readonly<Record<keyof TuistOptions, OptionCheck>> = {
  path: PATH,
  uploadsDir: { expected: 'a path', accepts: (value) => typeof value === 'string' && value !== '' },
  uploadTtlMs: countFrom(1),
  maxUploads: countFrom(1),
};

const DAY_MS = 24 * 60 * 60 * 1000;
const KEY_VALUES = '/api/cache/keyvalue';
const MODULES = '/api/cache/module/';
const CLEAN = '/api/cache/clean';

/**
 * The cache API of Tuist below `path` (default `''`), as its server Kura has it (tuist/tuist, kura/src/http.rs): Xcode's compilation cache (`cas`,
 * `keyvalue`), modules, Gradle, and routes for Nx and Metro. Clients name `tenant_id` and `namespace_id`, or
 * `account_handle` and `project_handle`; both are needed. Access policies see `<tenant>/<namespace>`, each percent-encoded.
 *
 * - GET and HEAD of an artifact, with ranges; uploads by POST (`cas`: 204) or PUT (`gradle`: 201 for a new one, 200; Nx and
 *   Metro: 200). `/v1/cache` and `/api/metro/cache` are left to others for requests that name neither tenant nor namespace.
 * - `tuist-checksum-sha256` of an upload: 422 where the body hashes to something else; it comes back with the artifact.
 * - Modules in parts of 10 MiB (413) and 2 GiB in all (422), in `uploadsDir`: `start`, `part`, `complete`.
 * - DELETE of `/api/cache/clean`: nothing of the tenant and namespace can be reached any more, in this process at once, in
 *   others that share the store within two seconds. The bytes are the store's to evict.
 *
 * For the last, every key holds a generation, which is looked up in the store once a second for each namespace in use.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function tuist(options: TuistOptions = {}): Protocol {
  assertOptions(options, CHECKS);
  const { path = '', uploadsDir, uploadTtlMs = DAY_MS, maxUploads = 256 } = options;
  const generations = new Generations();
  const uploads = uploadsDir === undefined ? undefined : new ModuleUploads(uploadsDir, uploadTtlMs, maxUploads);
  const modules = new Modules(generations, uploads);
  return {
    name: 'tuist',
    route: (request) => {
      if (!request.path.startsWith(path)) return undefined;
      return route(request, request.path.slice(path.length), generations, modules);
    },
  };
}

function route(
  request: ProtocolRequest,
  path: string,
  generations: Generations,
  modules: Modules,
): Operation | undefined {
  const blob = BLOB_ROUTES.find((each) => path.startsWith(`${each.path}/`));
  if (blob !== undefined) {
    if (blob.isShared && !hasScope(request.query)) return undefined;
    return blobOperation(blob, request, path.slice(blob.path.length + 1), generations);
  }
  if (path.startsWith(MODULES)) return modules.route(request, path.slice(MODULES.length));
  if (path === KEY_VALUES) return keyValueRoute(request, undefined, generations);
  if (path.startsWith(`${KEY_VALUES}/`)) return keyValueRoute(request, path.slice(KEY_VALUES.length + 1), generations);
  return path === CLEAN ? clean(request, generations) : undefined;
}

function clean({ method, query }: ProtocolRequest, generations: Generations): Operation {
  if (method !== 'DELETE') return { kind: 'unsupported', allow: ['DELETE'] };
  const scope = scopeOf(query);
  return {
    kind: 'answer',
    needs: 'write',
    namespace: scope,
    answer: async (artifacts) => {
      await generations.renew(scope, artifacts);
      return { status: 204 };
    },
  };
}
