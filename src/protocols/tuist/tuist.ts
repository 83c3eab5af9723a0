import { assertOptions, countFrom, FLAG, type OptionCheck } from '../../contract/validation.js';
import { PATH, type PathOptions } from '../paths.js';
import { FAILED_READ_IS_MISS, type Operation, type Protocol, type ProtocolRequest } from '../protocol.js';
import { BLOB_ROUTES, blobOperation } from './blobs.js';
import { Generations } from './generations.js';
import { keyValueRoute } from './key-values.js';
import { ModuleUploads } from './module-uploads.js';
import { Modules } from './modules.js';
import { hasProject, projectOf } from './project.js';

/** Options of {@link tuist}. */
export interface TuistOptions extends PathOptions {
  /**
   * Directory for the parts of module uploads, on a file system that survives a restart of the machine. Created when
   * the first upload starts. Several processes can share it. Default: none; module uploads are answered with 405.
   */
  readonly uploadsDir?: string | undefined;
  /** Time in milliseconds after which an upload in parts expires, counted from its last part. Default: 24 hours. */
  readonly uploadTtlMs?: number | undefined;
  /**
   * Maximum number of unfinished uploads in parts, each of at most 2 GiB. A namespace gets a quarter of them in each scope, but at
   * least 8. When a limit is reached, a request that starts another upload is answered with 503. Default: 256.
   */
  readonly maxUploads?: number | undefined;
  /**
   * Maximum size in bytes of all parts of unfinished uploads together. A namespace gets half of it in each scope. Further parts are
   * answered with 507. Default: 8 GiB.
   */
  readonly maxPartsBytes?: number | undefined;
  /**
   * Called with each change of the space of the parts, in bytes. For a store that counts the files in `uploadsDir` towards its
   * limit: pass them to `countBytes` of a directory store.
   */
  readonly onPartsBytes?: ((change: number) => void) | undefined;
  /**
   * Gives the group read and write access to the files in `uploadsDir`. Default: `false`; only the user of the process
   * has access.
   */
  readonly groupAccess?: boolean | undefined;
}

const CHECKS: Readonly<Record<keyof TuistOptions, OptionCheck>> = {
  path: PATH,
  uploadsDir: { expected: 'a path', accepts: (value) => typeof value === 'string' && value !== '' },
  uploadTtlMs: countFrom(1),
  maxUploads: countFrom(1),
  maxPartsBytes: countFrom(1),
  onPartsBytes: { expected: 'a function', accepts: (value) => typeof value === 'function' },
  groupAccess: FLAG,
};

const GIB = 1024 ** 3;
const DAY_MS = 24 * 60 * 60 * 1000;
const KEY_VALUES = '/api/cache/keyvalue';
const MODULES = '/api/cache/module/';
const CLEAN = '/api/cache/clean';

/**
 * Cache API of Tuist below `path` (default `''`), compatible with its server Kura (tuist/tuist, kura/src/http.rs):
 * Xcode's compilation cache (`cas`, `keyvalue`), modules, Gradle, and routes for Nx and Metro. Requests need a tenant
 * and a namespace: `tenant_id` and `namespace_id`, or `account_handle` and `project_handle`. Access policies receive
 * `<tenant>/<namespace>`, each percent-encoded, as the namespace.
 *
 * - GET and HEAD of an artifact, with ranges.
 * - Uploads by POST (`cas`: 204) or PUT (`gradle`: 201 for a new artifact, otherwise 200; Nx and Metro: 200).
 * - Requests to `/v1/cache` and `/api/metro/cache` without a tenant and a namespace are passed to the next protocol.
 * - An upload that does not match its `tuist-checksum-sha256` is answered with 422. The header is sent with the
 *   artifact.
 * - Modules are uploaded in parts to `uploadsDir` (`start`, `part`, `complete`). A part above 10 MiB is answered with
 *   413, an upload above 2 GiB with 422.
 * - DELETE of `/api/cache/clean` makes all artifacts of the tenant and namespace unreachable: in this process at once,
 *   and within two seconds in other processes that share the store. The store evicts the bytes later.
 *
 * To support `clean`, every key contains a generation, which each process reads from the store once per second for each
 * namespace in use.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid value or an unknown option
 */
export function tuist(options: TuistOptions = {}): Protocol {
  assertOptions(options, CHECKS);
  const { path = '', uploadsDir, uploadTtlMs = DAY_MS, maxUploads = 256, maxPartsBytes = 8 * GIB } = options;
  const generations = new Generations();
  const { groupAccess, onPartsBytes } = options;
  const uploadOptions = { ttlMs: uploadTtlMs, maxUploads, maxPartsBytes, groupAccess, onPartsBytes };
  const uploads = uploadsDir === undefined ? undefined : new ModuleUploads(uploadsDir, uploadOptions);
  const modules = new Modules(generations, uploads);
  return {
    name: 'tuist',
    route: (request) => {
      if (!request.path.startsWith(path)) return undefined;
      return route(request, request.path.slice(path.length), generations, modules);
    },
    failureStatus: FAILED_READ_IS_MISS,
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
    if (blob.isShared && !hasProject(request.query)) return undefined;
    return blobOperation(blob, request, path.slice(blob.path.length + 1), generations);
  }
  if (path.startsWith(MODULES)) return modules.route(request, path.slice(MODULES.length));
  if (path === KEY_VALUES) return keyValueRoute(request, undefined, generations);
  if (path.startsWith(`${KEY_VALUES}/`)) return keyValueRoute(request, path.slice(KEY_VALUES.length + 1), generations);
  return path === CLEAN ? clean(request, generations) : undefined;
}

function clean({ method, query }: ProtocolRequest, generations: Generations): Operation {
  if (method !== 'DELETE') return { kind: 'unsupported', allow: ['DELETE'] };
  const project = projectOf(query);
  return {
    kind: 'answer',
    needs: 'write',
    namespace: project,
    answer: async (artifacts) => {
      await generations.renew(project, artifacts);
      return { status: 204 };
    },
  };
}
