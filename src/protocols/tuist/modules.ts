import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { HotblobError } from '../../contract/errors.js';
import { decodePath } from '../paths.js';
import {
  type AnswerOperation,
  jsonReply,
  type Operation,
  type ProtocolArtifacts,
  type ProtocolRequest,
  type Reply,
} from '../protocol.js';
import { CHECKSUM_HEADER, checksumOf, verifyChecksum } from './checksum.js';
import type { Generations } from './generations.js';
import { jsonBody } from './json-body.js';
import {
  assertUploadLimits,
  MAX_PART_BYTES,
  type ModuleTarget,
  type ModuleUploads,
  type Part,
} from './module-uploads.js';
import { encodeName, parameter, projectOf } from './project.js';
import { encodeUploadId, parseUploadId, type UploadId } from './upload-id.js';

const UPLOAD_ROUTES: ReadonlySet<string> = new Set(['start', 'part', 'complete']);
const DEFAULT_CATEGORY = 'builds';
const MAX_U32 = 0xffff_ffff;
/**
 * First client version that accepts 204 as "the artifact exists" when it starts an upload. Older versions expect 200 with
 * `upload_id: null` (kura/src/http.rs).
 */
const FIRST_VERSION_WITH_204 = [4, 202, 0] as const;

const PRESENT: Reply = { status: 204, headers: { 'accept-ranges': 'bytes' } };
const ABSENT = jsonReply(404, { message: 'Artifact not found.' });
const UNKNOWN_UPLOAD = jsonReply(404, { message: 'Upload not found.' });
const NO_CONTENT: Reply = { status: 204 };

/** Routes below `/api/cache/module/`. A module is identified by hash, name and category, and is uploaded in parts. */
export class Modules {
  readonly #generations: Generations;
  readonly #uploads: ModuleUploads | undefined;

  /** @param uploads unfinished uploads; if `undefined`, uploads are answered with 405 */
  constructor(generations: Generations, uploads: ModuleUploads | undefined) {
    this.#generations = generations;
    this.#uploads = uploads;
  }

  /** Returns the operation for a request. @param rest path after `/api/cache/module/` */
  route(request: ProtocolRequest, rest: string): Operation {
    if (UPLOAD_ROUTES.has(rest)) return this.#uploadOperation(rest, request);
    encodeName(decodePath(rest)); // The id must be valid, but only the query identifies the artifact.
    if (request.method !== 'GET' && request.method !== 'HEAD') return { kind: 'unsupported', allow: ['GET', 'HEAD'] };
    const target = targetOf(request.query);
    if (request.method === 'HEAD') return this.#existenceOperation(target);
    return this.#generations.read(target.project, (prefix) => keyOf(prefix, target));
  }

  #uploadOperation(route: string, request: ProtocolRequest): Operation {
    const uploads = this.#uploads;
    if (uploads === undefined) return { kind: 'unsupported', allow: [] };
    if (request.method !== 'POST') return { kind: 'unsupported', allow: ['POST'] };
    if (route === 'start') return this.#startOperation(uploads, request);
    const id = parseUploadId(parameter(request.query, 'upload_id'));
    const number = route === 'part' ? partNumber(parameter(request.query, 'part_number')) : undefined;
    return {
      kind: 'answer',
      needs: 'write',
      namespace: id?.project,
      answer: async (artifacts) => {
        if (id === undefined) return UNKNOWN_UPLOAD;
        return number === undefined
          ? this.#complete(uploads, id, artifacts)
          : this.#addPart(uploads, id, number, artifacts);
      },
    };
  }

  #existenceOperation(target: ModuleTarget): AnswerOperation {
    const answer = async (artifacts: ProtocolArtifacts) => ((await this.#exists(target, artifacts)) ? PRESENT : ABSENT);
    return { kind: 'answer', needs: 'read', namespace: target.project, answer };
  }

  #startOperation(uploads: ModuleUploads, { query, headers }: ProtocolRequest): AnswerOperation {
    const target = targetOf(query);
    return {
      kind: 'answer',
      needs: 'write',
      namespace: target.project,
      answer: async (artifacts) => {
        if (await this.#exists(target, artifacts)) {
          return accepts204(headers['x-tuist-cli-version']) ? NO_CONTENT : jsonReply(200, { upload_id: null });
        }
        const id = await uploads.start({ ...target, view: artifacts.view, scope: artifacts.own.scope });
        return jsonReply(200, { upload_id: encodeUploadId({ id, project: target.project }) });
      },
    };
  }

  async #addPart(
    uploads: ModuleUploads,
    { id, project }: UploadId,
    number: number,
    artifacts: ProtocolArtifacts,
  ): Promise<Reply> {
    const upload = await uploads.find(id);
    if (upload?.project !== project || upload.view !== artifacts.view) return UNKNOWN_UPLOAD;
    const isKnown = await artifacts.receive(MAX_PART_BYTES, (body) => uploads.addPart(id, upload, number, body));
    return isKnown ? NO_CONTENT : UNKNOWN_UPLOAD;
  }

  async #complete(uploads: ModuleUploads, { id, project }: UploadId, artifacts: ProtocolArtifacts): Promise<Reply> {
    const { parts, checksum_sha256 } = await jsonBody(artifacts);
    const checksum = checksumOf(checksum_sha256);
    return uploads.lock(id, async () => {
      const target = await uploads.find(id);
      if (target?.project !== project || target.view !== artifacts.view) return UNKNOWN_UPLOAD;
      const received = await uploads.parts(id);
      assertPartList(parts, received);
      // Checked again, because another process may have received parts at the same time.
      assertUploadLimits(received);
      try {
        await this.#assemble(target, received, checksum, artifacts);
      } catch (error) {
        // If the upload does not exist any more, another process has completed it and removed its parts.
        if ((await uploads.find(id)) === undefined) return UNKNOWN_UPLOAD;
        throw error;
      }
      await uploads.remove(id);
      return NO_CONTENT;
    });
  }

  async #assemble(
    target: ModuleTarget,
    parts: readonly Part[],
    checksum: string | undefined,
    artifacts: ProtocolArtifacts,
  ): Promise<void> {
    const generation = await this.#generations.ensure(target.project, artifacts);
    // Checked before the store writes anything: a client can repeat the request with a wrong checksum.
    if (checksum !== undefined) await pipeline(verifyChecksum(bytesOf(parts), checksum), discardBytes);
    // A store that has stopped reading no longer listens for errors, and an error without a listener would end the
    // process.
    const body = Readable.from(bytesOf(parts), { objectMode: false }).on('error', () => {});
    const metadata = checksum === undefined ? undefined : { headers: { [CHECKSUM_HEADER]: checksum } };
    await artifacts.put(keyOf(`${target.project}/${generation}`, target), body, metadata);
  }

  async #exists(target: ModuleTarget, artifacts: ProtocolArtifacts): Promise<boolean> {
    const key = await this.#generations.locate(target.project, artifacts, (prefix) => keyOf(prefix, target));
    return key !== undefined;
  }
}

/**
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` for a missing parameter, `ERR_HOTBLOB_INVALID_KEY` for an invalid name
 */
function targetOf(query: URLSearchParams): ModuleTarget {
  return {
    project: projectOf(query),
    category: encodeName(query.get('cache_category') ?? DEFAULT_CATEGORY),
    hash: encodeName(parameter(query, 'hash')),
    name: encodeName(parameter(query, 'name')),
  };
}

function keyOf(prefix: string, { category, hash, name }: ModuleTarget): string {
  return `${prefix}/module/${category}/${hash}/${name}`;
}

function partNumber(text: string): number {
  const number = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (number <= MAX_U32) return number;
  throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', `part_number: expected an integer from 0 to ${MAX_U32}`);
}

/** Asserts that the client lists exactly the received parts, in ascending order (kura/src/store.rs). */
function assertPartList(listed: unknown, parts: readonly Part[]): void {
  const isList =
    Array.isArray(listed) &&
    listed.length > 0 &&
    listed.length === parts.length &&
    parts.every(({ number }, index) => listed[index] === number);
  if (!isList)
    throw new HotblobError(
      'ERR_HOTBLOB_BAD_REQUEST',
      'parts: expected the numbers of the received parts, in ascending order',
    );
}

async function* bytesOf(parts: readonly Part[]): AsyncGenerator<Buffer> {
  for (const { path, bytes } of parts) {
    let read = 0;
    const chunks: AsyncIterable<Buffer> = createReadStream(path, { highWaterMark: 256 * 1024 });
    for await (const chunk of chunks) {
      read += chunk.byteLength;
      yield chunk;
    }
    if (read !== bytes)
      throw new HotblobError('ERR_HOTBLOB_TRUNCATED', `${path}: expected ${bytes} bytes, received ${read}`);
  }
}

/** Returns whether a client of this version accepts 204. A pre-release suffix (`4.202.0-rc.1`) is ignored. */
function accepts204(version: string | string[] | undefined): boolean {
  const numbers = /^(\d+)\.(\d+)\.(\d+)(?:[-+]|$)/.exec(String(version))?.slice(1).map(Number);
  if (numbers === undefined) return false;
  for (const [index, least] of FIRST_VERSION_WITH_204.entries()) {
    const number = numbers[index] ?? 0;
    if (number !== least) return number > least;
  }
  return true;
}

async function discardBytes(chunks: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of chunks);
}
