import { HotblobError } from '../contract/errors.js';
import { forEachConcurrently } from '../util/for-each-concurrently.js';
import { pause } from '../util/loop-slices.js';
import { parseJson } from './parse-json.js';
import { keySegment, type PathOptions, pathBelow, pathOf } from './paths.js';
import {
  type ArtifactDescription,
  FAILED_READ_IS_MISS,
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
/** Headers of an upload that are sent with every download. `x-artifact-tag` is the signature of the client. */
const HEADERS = ['x-artifact-duration', 'x-artifact-tag', 'x-artifact-sha', 'x-artifact-dirty-hash'];
const ALLOW = ['GET', 'HEAD', 'PUT', 'OPTIONS'];
/** Maximum size of the request body of an artifact query and of events. */
const MAX_BODY_BYTES = 1024 * 1024;
const MAX_HASHES = 10_000;
/** Number of hashes that are validated between two calls of {@link pause}. */
const HASHES_PER_PAUSE = 256;
/** Maximum number of concurrent lookups of an artifact query. */
const MAX_LOOKUPS = 16;
/** Maximum size of the response to an artifact query. Only very long `x-artifact-tag` headers exceed it. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
/** Length of the text that is encoded at once. */
const PIECE_LENGTH = 64 * 1024;

// With --preflight, turbo sends its token only if the response allows the `authorization` header. Without
// Access-Control-Allow-Origin, the response allows no request of a browser: the option `cors` does that.
const PREFLIGHT: Reply = {
  status: 200,
  headers: {
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
 * Remote cache protocol of Turborepo, as in its OpenAPI description: `/v8/artifacts` below `path` (default `''`). The
 * URL of `TURBO_API` ends with `path`. The namespace of an artifact is its team: the query parameter `teamId`, or else
 * `slug`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid `path` or an unknown option
 */
export function turborepo(options: PathOptions = {}): Protocol {
  const path = pathOf(options, '');
  return {
    name: 'turborepo',
    route(request) {
      const route = pathBelow(request.path, path);
      if (route === ROUTE) return operationOf(request, '');
      return route?.startsWith(`${ROUTE}/`) ? operationOf(request, route.slice(ROUTE.length + 1)) : undefined;
    },
    describeError: (status, message) => ({
      contentType: 'application/json; charset=utf-8',
      text: JSON.stringify({ error: { code: CODES[status] ?? 'error', message } }),
    }),
    failureStatus: FAILED_READ_IS_MISS,
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
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', 'path: expected a hash of 1 to 128 letters, digits, "-" and "_"');
  }
  const key = prefix + hash;
  if (method === 'GET' || method === 'HEAD') return { kind: 'read', namespace, key };
  if (method !== 'PUT') return { kind: 'unsupported', key, allow: ALLOW };
  const reply = (): Reply => jsonReply(202, { urls: [hash] });
  return { kind: 'upload', namespace, key, metadata: uploadMetadata(headers, HEADERS), reply };
}

/**
 * Returns the key prefix and the namespace of the team. The prefixes for `teamId` and `slug` differ, because the id of
 * one team can equal the slug of another.
 */
function teamOf(query: URLSearchParams): { readonly prefix: string; readonly namespace: string | undefined } {
  for (const name of ['teamId', 'slug'] as const) {
    const team = query.get(name);
    if (team !== null && team !== '') return { prefix: `${PREFIXES[name]}/${keySegment(team)}/`, namespace: team };
  }
  return { prefix: 'no-team/', namespace: undefined };
}

const PREFIXES = { teamId: 'teams', slug: 'slugs' } as const;

/**
 * Answers an artifact query, `{"hashes": [...]}`: for each hash, the description of the artifact, or null for a miss.
 */
async function queryMany(artifacts: ProtocolArtifacts, prefix: string): Promise<Reply> {
  const hashes = await hashesIn(await artifacts.readBody(MAX_BODY_BYTES));
  const answer = new QueryAnswer();
  await forEachConcurrently(hashes, MAX_LOOKUPS, async (hash) => {
    artifacts.signal.throwIfAborted();
    answer.add(hash, summaryOf(await artifacts.describe(prefix + hash)));
    await pause();
  });
  return { status: 200, body: { contentType: 'application/json; charset=utf-8', text: answer.finish() } };
}

/** Returns the hashes of a query without repetitions. */
async function hashesIn(body: Buffer): Promise<Set<string>> {
  const badRequest = (cause?: unknown) => {
    const message = `body: expected {"hashes": [...]} with at most ${MAX_HASHES} valid hashes`;
    return new HotblobError('ERR_HOTBLOB_BAD_REQUEST', message, { cause });
  };
  const value = await parseJson(body).catch((cause: unknown) => {
    throw badRequest(cause);
  });
  const list: unknown = Object(value).hashes;
  if (!Array.isArray(list) || list.length > MAX_HASHES) throw badRequest();
  const hashes = new Set<string>();
  for (const [index, hash] of list.entries()) {
    if (typeof hash !== 'string' || !HASH.test(hash)) throw badRequest();
    hashes.add(hash);
    if (index % HASHES_PER_PAUSE === 0) await pause();
  }
  return hashes;
}

/** Response to an artifact query. It is encoded in pieces, because to encode it at once would block the event loop. */
class QueryAnswer {
  readonly #pieces: Buffer[] = [];
  #bytes = 0;
  #text = '';

  add(hash: string, summary: object | null): void {
    const separator = this.#bytes + this.#text.length === 0 ? '{' : ',';
    this.#text += `${separator}${JSON.stringify(hash)}:${JSON.stringify(summary)}`;
    if (this.#text.length < PIECE_LENGTH) return;
    this.#encode();
    if (this.#bytes <= MAX_ANSWER_BYTES) return;
    const message = `the answer would have more than ${MAX_ANSWER_BYTES} bytes: query fewer hashes at once`;
    throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', message);
  }

  finish(): Uint8Array {
    this.#text += this.#bytes + this.#text.length === 0 ? '{}' : '}';
    this.#encode();
    return Buffer.concat(this.#pieces);
  }

  #encode(): void {
    const piece = Buffer.from(this.#text);
    this.#pieces.push(piece);
    this.#bytes += piece.byteLength;
    this.#text = '';
  }
}

function summaryOf(artifact: ArtifactDescription | undefined): object | null {
  if (artifact === undefined) return null;
  const { size, metadata } = artifact;
  const tag = metadata.headers?.['x-artifact-tag'];
  const duration = Number(metadata.headers?.['x-artifact-duration'] ?? 0);
  return { size, taskDurationMs: Number.isFinite(duration) ? duration : 0, ...(tag === undefined ? {} : { tag }) };
}

/** Discards the hits and misses that turbo reports, because the handler counts its own. */
async function ignoreEvents(artifacts: ProtocolArtifacts): Promise<Reply> {
  for await (const _chunk of artifacts.body(MAX_BODY_BYTES));
  return jsonReply(200, {});
}
