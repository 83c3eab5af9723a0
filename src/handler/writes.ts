import type { Exchange } from '../contract/exchange.js';
import { evaluatePreconditions, matchesAny } from '../http/preconditions.js';
import type { UploadOperation } from '../protocols/protocol.js';
import type { UploadLimits } from './options.js';
import { replyError, replyTo } from './record-reply.js';
import { mayHaveBody } from './reply.js';
import type { ResponseRecord } from './response-record.js';
import type { StoreAccess } from './store-access.js';
import { expectedBody, storedMetadata, uploadBody } from './upload-body.js';

/** Uploads and deletions. */
export class Writes {
  readonly #limits: UploadLimits;
  readonly #access: StoreAccess;

  constructor(limits: UploadLimits, access: StoreAccess) {
    this.#limits = limits;
    this.#access = access;
  }

  /** Stores the body of a request under `key`, and responds. */
  async put(
    exchange: Exchange,
    key: string,
    upload: UploadOperation,
    record: ResponseRecord,
  ): Promise<'missing' | 'answered'> {
    const maxBytes = Math.min(this.#limits.maxUploadBytes, upload.maxBytes ?? Number.POSITIVE_INFINITY);
    const expected = expectedBody(exchange, maxBytes, upload);
    const refusal = await this.#checkPreconditions('PUT', exchange, key, record);
    if (refusal !== undefined) return refusal;
    const body = uploadBody(exchange, expected, this.#limits, record);
    const options = {
      size: expected.size,
      metadata: storedMetadata(exchange, upload.metadata),
      // Another upload may have stored the key since the check above. Only the store can detect this, when it commits.
      ifAbsent: matchesAny(exchange.headers['if-none-match']),
    };
    const { wasKept, ...result } = await this.#access.put(
      exchange,
      record.view,
      key,
      body,
      options,
      upload.contentAddressed,
    );
    if (!body.readableEnded && mayHaveBody(exchange)) exchange.refuseBody();
    const { existsStatus } = record.protocol ?? {};
    if (wasKept && !upload.contentAddressed && existsStatus !== undefined) {
      replyError(record, existsStatus);
      return 'answered';
    }
    const reply = upload.reply?.(result) ?? { status: 200 };
    replyTo(record, reply, result.etag === undefined ? {} : { etag: result.etag });
    return 'answered';
  }

  /** Deletes the artifact under `key`, and responds unless there is none. */
  async delete(exchange: Exchange, key: string, record: ResponseRecord): Promise<'missing' | 'answered'> {
    const refusal = await this.#checkPreconditions('DELETE', exchange, key, record);
    if (refusal !== undefined) return refusal;
    if (!(await this.#access.delete(record.view, key))) return 'missing';
    replyTo(record, { status: 204 });
    return 'answered';
  }

  /**
   * Checks the preconditions of an upload or a deletion, which are about the artifact that the request would change. If one fails,
   * responds with 412. Otherwise returns undefined.
   */
  async #checkPreconditions(
    method: 'PUT' | 'DELETE',
    exchange: Exchange,
    key: string,
    record: ResponseRecord,
  ): Promise<'missing' | 'answered' | undefined> {
    const { headers } = exchange;
    if (!WRITE_PRECONDITIONS.some((name) => headers[name] !== undefined)) return undefined;
    const current = await this.#access.describe(exchange, record.view.own, key);
    // Preconditions are ignored if the response without them would be an error (RFC 9110, section 13.2.1).
    if (method === 'DELETE' && current === undefined) return 'missing';
    if (evaluatePreconditions(method, headers, current) === 'proceed') return undefined;
    replyError(record, 412);
    return 'answered';
  }
}

const WRITE_PRECONDITIONS = ['if-match', 'if-none-match', 'if-unmodified-since'] as const;
