import { HotblobError } from '../contract/errors.js';
import { below, keySegment, type PathOptions, pathFrom } from './paths.js';
import {
  type ArtifactDescription,
  jsonReply,
  type Operation,
  type Protocol,
  type ProtocolArtifacts,
  type ProtocolRequest,
  type Reply,
} from './protocol.js';
import { uploadMetadata } from './request-metadata.js';

const ROUTE = 'v8/artifacts';
const HASH = /^[A-Za-z0-9_-]{1,128}$/;
/** What an upload brings and a download gives back. `x-artifact-tag` is the client's signature. */
const HEADERS = ['x-artifact-duration', 'x-artifact-tag', 'x-artifact-sha', 'x-artifact-dirty-hash'];
const ALLOW = ['GET', 'HEAD', 'PUT', 'OPTIONS'];
/** Of a query of many artifacts, and of the events, in bytes. */
const MAX_BODY = 1024 * 1024;
const MAX_HASHES = 10_000;
/** Looked for at the same time. */
const LOOKUPS = 16;

// Without it turbo --preflight sends its token no further.
const PREFLIGHT: Reply = {
  status: 200,
  headers: {
    'access-control-allow-origin': '*',
    'access-control-allow-methods': 'GET, HEAD, POST, PUT, OPTIONS',
    'access-control-allow-headers': ['authorization', 'content-type', 'user-agent', ...HEADERS].join(', '),
  },
};

const CODES: Readonly<Record<number, string>> = {
  400: 'bad_request',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  405: 'method_not_allowed',
  413: 'too_large',
};

/**
 * The remote cache of Turborepo, as its OpenAPI description has it: `/v8/artifacts` below `path` (default `''`), which is
 * what TURBO_API ends with. Artifacts are their team's (`teamId`, else `slug`).
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function turborepo(options: PathOptions = {}): Protocol {
  const path = pathFrom(options, '');
  return {
    name: 'turborepo',
    route(request) {
      const route = below(request.path, path);
      if (route === ROUTE) return operationOf(request, '');
      return route?.startsWith(`${ROUTE}/`) ? operationOf(request, route.slice(ROUTE.length + 1)) : undefined;
    },
    describeError: (status, message) => ({
      contentType: 'application/json; charset=utf-8',
      text: JSON.stringify({ error: { code: CODES[status] ?? 'error', message } }),
    }),
  };
}

function operationOf({ method, query, headers }: ProtocolRequest, route: string): Operation {
  if (method === 'OPTIONS') return { kind: 'answer', needs: 'none', answer: () => PREFLIGHT };
  const { prefix, namespace } = teamOf(query);
  switch (route) {
    case '':
      if (method !== 'POST') return { kind: 'unsupported', allow: ['POST', 'OPTIONS'] };
      return { kind: 'answer', namespace, needs: 'read', answer: (artifacts) => queryMany(artifacts, prefix) };
    case 'status':
      if (method !== 'GET' && method !== 'HEAD') return { kind: 'unsupported', allow: ['GET', 'HEAD', 'OPTIONS'] };
      return { kind: 'answer', namespace, needs: 'read', answer: () => jsonReply(200, { status: 'enabled' }) };
    case 'events':
      if (method !== 'POST') return { kind: 'unsupported', allow: ['POST', 'OPTIONS'] };
      return { kind: 'answer', namespace, needs: 'read', answer: ignoreEvents };
    default:
      return artifactOperation(method, route, headers, prefix, namespace);
  }
}

function artifactOperation(
  method: string,
  hash: string,
  headers: ProtocolRequest['headers'],
  prefix: string,
  namespace: string | undefined,
): Operation {
  if (!HASH.test(hash)) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'a hash of Turborepo has letters, digits, "-" and "_"');
  }
  const key = prefix + hash;
  if (method === 'GET' || method === 'HEAD') return { kind: 'read', namespace, key };
  if (method !== 'PUT') return { kind: 'unsupported', key, allow: ALLOW };
  const reply = (): Reply => jsonReply(202, { urls: [hash] });
  return { kind: 'upload', namespace, key, metadata: uploadMetadata(headers, HEADERS), reply };
}

/** What precedes the keys of a team. A team by its id is not one by its slug, though both may be called the same. */
function teamOf(query: URLSearchParams): { readonly prefix: string; readonly namespace: string | undefined } {
  for (const name of ['teamId', 'slug'] as const) {
    const team = query.get(name);
    if (team !== null && team !== '') return { prefix: `${PREFIXES[name]}/${keySegment(team)}/`, namespace: team };
  }
  return { prefix: 'no-team/', namespace: undefined };
}

const PREFIXES = { teamId: 'teams', slug: 'slugs' } as const;

/** What is known of each of `{"hashes": [...]}`; null for a miss. */
async function queryMany(artifacts: ProtocolArtifacts, prefix: string): Promise<Reply> {
  const hashes = hashesIn((await artifacts.body(MAX_BODY).toArray()) as Buffer[]);
  const found: Record<string, object | null> = Object.create(null);
  let next = 0;
  const look = async (): Promise<void> => {
    for (let hash = hashes[next++]; hash !== undefined; hash = hashes[next++]) {
      artifacts.signal.throwIfAborted();
      found[hash] = summaryOf(await artifacts.describe(prefix + hash));
    }
  };
  await Promise.all(Array.from({ length: LOOKUPS }, look));
  return jsonReply(200, found);
}

function hashesIn(chunks: readonly Buffer[]): string[] {
  const refused = (cause?: unknown) =>
    new HotblobError('ERR_HOTBLOB_BAD_REQUEST', `expected {"hashes": [...]} with ${MAX_HASHES} at most`, { cause });
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString());
  } catch (cause) {
    throw refused(cause);
  }
  const hashes: unknown = Object(value).hashes;
  if (!Array.isArray(hashes) || hashes.length > MAX_HASHES) throw refused();
  if (!hashes.every((hash): hash is string => typeof hash === 'string' && HASH.test(hash))) throw refused();
  return hashes;
}

function summaryOf(artifact: ArtifactDescription | undefined): object | null {
  if (artifact === undefined) return null;
  const { size, metadata } = artifact;
  const tag = metadata.headers?.['x-artifact-tag'];
  const duration = Number(metadata.headers?.['x-artifact-duration'] ?? 0);
  return { size, taskDurationMs: Number.isFinite(duration) ? duration : 0, ...(tag === undefined ? {} : { tag }) };
}

/** What turbo says about its hits and misses is counted here already. */
async function ignoreEvents(artifacts: ProtocolArtifacts): Promise<Reply> {
  for await (const _chunk of artifacts.body(MAX_BODY));
  return jsonReply(200, {});
}
