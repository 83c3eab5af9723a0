import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
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
import { CHECKSUM_HEADER, checksumOf, verified } from './checksum.js';
import { type Generations, NONE } from './generations.js';
import { jsonBody } from './json-body.js';
import { assertFits, MAX_PART_BYTES, type ModuleTarget, type ModuleUploads, type Part } from './module-uploads.js';
import { keyPart, parameter, scopeOf } from './scope.js';
import { encodeUploadId, parseUploadId, type UploadId } from './upload-id.js';

const STEPS: ReadonlySet<string> = new Set(['start', 'part', 'complete']);
const CATEGORY = 'builds';
const MAX_U32 = 0xffff_ffff;
/** From this one on, the client takes 204 for "it is there already"; before, 200 without an id (kura/src/http.rs). */
const FIRST_VERSION_WITH_204 = [4, 202, 0] as const;

const PRESENT: Reply = { status: 204, headers: { 'accept-ranges': 'bytes' } };
const ABSENT = jsonReply(404, { message: 'Artifact not found.' });
const UNKNOWN_UPLOAD = jsonReply(404, { message: 'Upload not found.' });
const DONE: Reply = { status: 204 };

/** What is below `/api/cache/module/`: artifacts that are looked for by hash, name and category, and uploaded in parts. */
export class Modules {
  readonly #generations: Generations;
  readonly #uploads: ModuleUploads | undefined;

  /** Without `uploads` there are none: 405. */
  constructor(generations: Generations, uploads: ModuleUploads | undefined) {
    this.#generations = generations;
    this.#uploads = uploads;
  }

  /** @param rest what stands behind `/api/cache/module/` */
  route(request: ProtocolRequest, rest: string): Operation {
    if (STEPS.has(rest)) return this.#step(rest, request);
    keyPart(decodePath(rest)); // an id that says nothing more than the query, but has to be one
    if (request.method !== 'GET' && request.method !== 'HEAD') return { kind: 'unsupported', allow: ['GET', 'HEAD'] };
    const target = targetOf(request.query);
    if (request.method === 'HEAD') return this.#look(target);
    return this.#generations.operation(target.scope, 'read', (prefix) => {
      return { kind: 'read', namespace: target.scope, key: keyOf(prefix, target) };
    });
  }

  #step(step: string, request: ProtocolRequest): Operation {
    const uploads = this.#uploads;
    if (uploads === undefined) return { kind: 'unsupported', allow: [] };
    if (request.method !== 'POST') return { kind: 'unsupported', allow: ['POST'] };
    if (step === 'start') return this.#start(uploads, request);
    const id = parseUploadId(parameter(request.query, 'upload_id'));
    const number = step === 'part' ? partNumber(parameter(request.query, 'part_number')) : undefined;
    return {
      kind: 'answer',
      needs: 'write',
      namespace: id?.scope,
      answer: async (artifacts) => {
        if (id === undefined) return UNKNOWN_UPLOAD;
        return number === undefined
          ? this.#complete(uploads, id, artifacts)
          : this.#keep(uploads, id, number, artifacts);
      },
    };
  }

  #look(target: ModuleTarget): AnswerOperation {
    const answer = async (artifacts: ProtocolArtifacts) =>
      (await this.#isThere(target, artifacts)) ? PRESENT : ABSENT;
    return { kind: 'answer', needs: 'read', namespace: target.scope, answer };
  }

  #start(uploads: ModuleUploads, { query, headers }: ProtocolRequest): AnswerOperation {
    const target = targetOf(query);
    return {
      kind: 'answer',
      needs: 'write',
      namespace: target.scope,
      answer: async (artifacts) => {
        if (await this.#isThere(target, artifacts)) {
          return understands204(headers['x-tuist-cli-version']) ? DONE : jsonReply(200, { upload_id: null });
        }
        return jsonReply(200, { upload_id: encodeUploadId({ id: await uploads.begin(target), scope: target.scope }) });
      },
    };
  }

  async #keep(
    uploads: ModuleUploads,
    { id, scope }: UploadId,
    number: number,
    artifacts: ProtocolArtifacts,
  ): Promise<Reply> {
    const upload = await uploads.find(id);
    if (upload?.target.scope !== scope) return UNKNOWN_UPLOAD;
    return (await uploads.keep(id, number, artifacts.body(MAX_PART_BYTES))) ? DONE : UNKNOWN_UPLOAD;
  }

  async #complete(uploads: ModuleUploads, { id, scope }: UploadId, artifacts: ProtocolArtifacts): Promise<Reply> {
    const { parts, checksum_sha256 } = await jsonBody(artifacts);
    const checksum = checksumOf(checksum_sha256);
    return uploads.lock(id, async () => {
      const upload = await uploads.find(id);
      if (upload?.target.scope !== scope) return UNKNOWN_UPLOAD;
      assertListed(parts, upload.parts);
      // Other processes may have taken parts of it at the same moment.
      assertFits(upload.parts);
      try {
        await this.#assemble(upload.target, upload.parts, checksum, artifacts);
      } catch (error) {
        // Another process has been faster.
        if ((await uploads.find(id)) === undefined) return UNKNOWN_UPLOAD;
        throw error;
      }
      await uploads.remove(id);
      return DONE;
    });
  }

  async #assemble(
    target: ModuleTarget,
    parts: readonly Part[],
    checksum: string | undefined,
    artifacts: ProtocolArtifacts,
  ): Promise<void> {
    const generation = await this.#generations.ensure(target.scope, artifacts);
    const chunks = checksum === undefined ? bytesOf(parts) : verified(bytesOf(parts), checksum);
    // A store that has given up listens no more, and an error without a listener would end the process.
    const body = Readable.from(chunks, { objectMode: false }).on('error', () => {});
    const metadata = checksum === undefined ? undefined : { headers: { [CHECKSUM_HEADER]: checksum } };
    await artifacts.put(keyOf(`${target.scope}/${generation}`, target), body, metadata);
  }

  async #isThere(target: ModuleTarget, artifacts: ProtocolArtifacts): Promise<boolean> {
    const { scope } = target;
    const generation = (await this.#generations.find(scope, artifacts)) ?? NONE;
    return (await artifacts.describe(keyOf(`${scope}/${generation}`, target))) !== undefined;
  }
}

/** @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST`, `ERR_HOTBLOB_INVALID_KEY` */
function targetOf(query: URLSearchParams): ModuleTarget {
  return {
    scope: scopeOf(query),
    category: keyPart(query.get('cache_category') ?? CATEGORY),
    hash: keyPart(parameter(query, 'hash')),
    name: keyPart(parameter(query, 'name')),
  };
}

function keyOf(prefix: string, { category, hash, name }: ModuleTarget): string {
  return `${prefix}/module/${category}/${hash}/${name}`;
}

function partNumber(text: string): number {
  const number = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (number <= MAX_U32) return number;
  throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', `part_number: expected a whole number up to ${MAX_U32}`);
}

/** What is listed must be exactly what has come, in the order of the numbers (kura/src/store.rs). */
function assertListed(listed: unknown, parts: readonly Part[]): void {
  const isList =
    Array.isArray(listed) &&
    listed.length > 0 &&
    listed.length === parts.length &&
    parts.every(({ number }, index) => listed[index] === number);
  if (!isList) throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', 'the list is not that of the parts that have come');
}

async function* bytesOf(parts: readonly Part[]): AsyncGenerator<Buffer> {
  for (const { path, bytes } of parts) {
    let read = 0;
    const chunks: AsyncIterable<Buffer> = createReadStream(path, { highWaterMark: 256 * 1024 });
    for await (const chunk of chunks) {
      read += chunk.byteLength;
      yield chunk;
    }
    if (read !== bytes) throw new HotblobError('ERR_HOTBLOB_TRUNCATED', `${path}: ${read} bytes, expected ${bytes}`);
  }
}

/** What is behind a hyphen (`4.202.0-rc.1`) makes no difference. */
function understands204(version: string | string[] | undefined): boolean {
  const numbers = /^(\d+)\.(\d+)\.(\d+)(?:[-+]|$)/.exec(String(version))?.slice(1).map(Number);
  if (numbers === undefined) return false;
  for (const [index, least] of FIRST_VERSION_WITH_204.entries()) {
    const number = numbers[index] ?? 0;
    if (number !== least) return number > least;
  }
  return true;
}
