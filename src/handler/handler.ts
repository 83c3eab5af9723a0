import { type AccessRefusal, CHALLENGE, checkAccess } from '../access/policy.js';
import type { Artifact, FileArtifact } from '../contract/artifact.js';
import { statusOf } from '../contract/errors.js';
import type { Exchange, ResponseHeaders } from '../contract/exchange.js';
import { evaluatePreconditions } from '../http/preconditions.js';
import {
  type AnswerOperation,
  type Operation,
  type Reply,
  requiredAccess,
  type UploadOperation,
} from '../protocols/protocol.js';
import { isPromise } from '../util/is-promise.js';
import type { Download } from './download.js';
import { type HandlerOptions, type Settings, settingsOf } from './options.js';
import { answerError, answerReply } from './reply.js';
import { RequestArtifacts } from './request-artifacts.js';
import { requestBelow } from './request-head.js';
import { RequestSignal } from './request-signal.js';
import type { ResponseRecord } from './response-record.js';
import { Sender } from './sender.js';
import type { HandlerStats } from './stats.js';
import { Artifacts } from './store-access.js';
import { expectedBody, mayHaveBody, uploadBody } from './upload-body.js';

/** Answers the requests of a build cache from one store. Made by {@link createHandler}. */
export interface Handler {
  /**
   * Does the whole job for a request: finds the artifact, decides, sends. Resolves when the response is over, to false
   * for a request that is not the handler's; then nothing has been answered. Never rejects.
   */
  handle(exchange: Exchange): Promise<boolean>;
  /**
   * Answers a GET or HEAD with an artifact that the host has found and authorised. Resolves when the response is over, to
   * false for an artifact that is not there (a file that has vanished); then nothing has been answered. Never rejects.
   */
  send(exchange: Exchange, artifact: Artifact): Promise<boolean>;
  /** What has been done since the start, and what is in use now. */
  stats(): HandlerStats;
  /** Closes descriptors, those in use with their last response. The store stays its owner's. */
  close(): void;
}

/** What answers requests in our own terms: a handler, or an object that passes on to one. */
export type ExchangeHandler = Pick<Handler, 'handle'>;

/**
 * Makes a handler.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`, `ERR_HOTBLOB_INVALID_STORE`
 */
export function createHandler(options: HandlerOptions): Handler {
  return new CacheHandler(settingsOf(options));
}

/** Foreign: not the handler's. Missing: the handler's, but there is nothing under its key. Nothing is answered by either. */
type Outcome = 'answered' | 'missing' | 'foreign';

class CacheHandler implements Handler {
  readonly #settings: Settings;
  readonly #sender: Sender;
  readonly #download: Download;
  readonly #artifacts: Artifacts;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#sender = new Sender(settings, this);
    this.#download = this.#sender.download;
    this.#artifacts = new Artifacts(settings.store, this.#sender.openFiles, this.#download);
  }

  async handle(exchange: Exchange): Promise<boolean> {
    const record = this.#sender.begin(exchange, 'none');
    try {
      let outcome = await this.#route(exchange, record);
      if (record.vanished !== undefined) outcome = await this.#lookAgain(exchange, record.vanished, record);
      if (record.wasLookedUp) this.#sender.lookedUp(outcome === 'answered');
      if (outcome !== 'answered') {
        if (outcome === 'foreign' || this.#settings.fallthrough) {
          this.#sender.leave();
          return false;
        }
        this.#answerError(exchange, record, 404);
      }
    } catch (error) {
      this.#fail(exchange, error, record);
    }
    this.#sender.finish(record);
    return true;
  }

  async send(exchange: Exchange, artifact: Artifact): Promise<boolean> {
    const record = this.#sender.begin(exchange, 'send');
    try {
      if ((await this.#download.answer(exchange, artifact, record)) === 'missing') {
        this.#sender.leave();
        return false;
      }
    } catch (error) {
      this.#fail(exchange, error, record);
    }
    this.#sender.finish(record);
    return true;
  }

  stats(): HandlerStats {
    return this.#sender.stats();
  }

  close(): void {
    this.#sender.close();
  }

  // The hot path below is not async: each promise on it costs as much as a step of its work.
  #route(exchange: Exchange, record: ResponseRecord): Promise<Outcome> {
    const { mountPath, protocols, fallthrough } = this.#settings;
    const request = requestBelow(exchange, mountPath);
    if (request === undefined) return FOREIGN;
    const recognition = protocols.recognise(request);
    if (recognition === undefined) return FOREIGN;
    record.protocol = recognition.protocol;
    if (recognition.operation === undefined) {
      // A path that is not valid as a key may be a path of the next handler.
      if (fallthrough) return FOREIGN;
      throw recognition.error;
    }
    record.key = recognition.key;
    record.operation = recognition.operation.kind;
    return this.#admit(exchange, recognition.operation, record);
  }

  /** Looks at who asks, before anything is looked up. */
  #admit(exchange: Exchange, operation: Operation, record: ResponseRecord): Promise<Outcome> {
    const { access } = this.#settings;
    if (access === undefined || operation.kind === 'unsupported') return this.#perform(exchange, operation, record);
    const refusal = checkAccess(access, {
      authorization: exchange.headers.authorization,
      protocol: record.protocol?.name ?? '',
      namespace: operation.namespace,
      needs: requiredAccess(operation),
    });
    const goOn = (status: AccessRefusal | undefined): Promise<Outcome> =>
      status === undefined ? this.#perform(exchange, operation, record) : this.#deny(exchange, status, record);
    return refusal instanceof Promise ? refusal.then(goOn) : goOn(refusal);
  }

  #deny(exchange: Exchange, status: AccessRefusal, record: ResponseRecord): Promise<Outcome> {
    if (mayHaveBody(exchange)) exchange.refuseBody();
    this.#answerError(exchange, record, status, status === 401 ? { 'www-authenticate': CHALLENGE } : undefined);
    return ANSWERED;
  }

  #perform(exchange: Exchange, operation: Operation, record: ResponseRecord): Promise<Outcome> {
    const { key = '' } = record;
    switch (operation.kind) {
      case 'read':
        return this.#get(exchange, key, record);
      case 'upload':
        if (this.#settings.store.put === undefined) return this.#refuse(exchange, READABLE, record);
        return this.#put(exchange, key, operation, record);
      case 'delete':
        if (this.#settings.store.delete === undefined) return this.#refuse(exchange, READABLE, record);
        return this.#delete(exchange, key, record);
      case 'answer':
        if (operation.needs === 'write' && this.#settings.store.put === undefined) {
          return this.#refuse(exchange, READABLE, record);
        }
        return this.#answer(exchange, operation, record);
      case 'unsupported':
        return this.#refuse(exchange, operation.allow, record);
    }
  }

  #get(exchange: Exchange, key: string, record: ResponseRecord): Promise<Outcome> {
    record.wasLookedUp = true;
    const found = this.#settings.store.get(key, new RequestSignal(exchange));
    if (isPromise(found)) return found.then((artifact) => this.#sendFound(exchange, artifact, record, true));
    return this.#sendFound(exchange, found, record, false);
  }

  #sendFound(
    exchange: Exchange,
    artifact: Artifact | undefined,
    record: ResponseRecord,
    later: boolean,
  ): Promise<Outcome> {
    if (artifact === undefined) return MISSING;
    record.found(later);
    return this.#download.answer(exchange, artifact, record);
  }

  /**
   * The file of an artifact was gone when it was to be opened. Where the store has it somewhere else by now (a segment whose
   * popular artifacts have moved on), that one is sent.
   */
  async #lookAgain(exchange: Exchange, vanished: FileArtifact, record: ResponseRecord): Promise<Outcome> {
    const found = await this.#settings.store.get(record.key ?? '', new RequestSignal(exchange));
    if (found === undefined || (found.kind === 'file' && found.path === vanished.path)) return 'missing';
    record.found(true);
    return this.#download.answer(exchange, found, record);
  }

  async #put(exchange: Exchange, key: string, upload: UploadOperation, record: ResponseRecord): Promise<Outcome> {
    const maxBytes = Math.min(this.#settings.maxUploadBytes, upload.maxBytes ?? Number.POSITIVE_INFINITY);
    const expected = expectedBody(exchange, maxBytes, upload);
    const refusal = await this.#refusal('PUT', exchange, key, record);
    if (refusal !== undefined) return refusal;
    const body = uploadBody(exchange, expected);
    const { size } = expected;
    const result = await this.#artifacts.put(exchange, key, body, { size, metadata: upload.metadata });
    const reply = upload.reply?.(result) ?? { status: 200 };
    this.#reply(exchange, record, reply, result.etag === undefined ? {} : { etag: result.etag });
    return 'answered';
  }

  async #delete(exchange: Exchange, key: string, record: ResponseRecord): Promise<Outcome> {
    const refusal = await this.#refusal('DELETE', exchange, key, record);
    if (refusal !== undefined) return refusal;
    if (!(await this.#artifacts.delete(exchange, key))) return 'missing';
    this.#reply(exchange, record, { status: 204 });
    return 'answered';
  }

  /** An answer of the protocol's own. */
  async #answer(exchange: Exchange, operation: AnswerOperation, record: ResponseRecord): Promise<Outcome> {
    const artifacts = new RequestArtifacts(exchange, record.protocol, this.#settings, this.#artifacts);
    const reply = await operation.answer(artifacts);
    if ('kind' in reply) {
      if ('key' in reply && reply.key !== undefined) record.key = artifacts.storeKey(reply.key);
      record.operation = reply.kind;
      return this.#perform(exchange, reply, record);
    }
    if (!artifacts.isBodyTaken && mayHaveBody(exchange)) exchange.refuseBody();
    this.#reply(exchange, record, reply);
    return 'answered';
  }

  /** Answers 405, or leaves it to whoever comes next. */
  #refuse(exchange: Exchange, methods: readonly string[], record: ResponseRecord): Promise<Outcome> {
    const { store, fallthrough } = this.#settings;
    if (fallthrough) return FOREIGN;
    const allow = methods.filter((method) => {
      if (method === 'DELETE') return store.delete !== undefined;
      return method !== 'PUT' || store.put !== undefined;
    });
    if (mayHaveBody(exchange)) exchange.refuseBody();
    this.#answerError(exchange, record, 405, { allow: allow.join(', ') });
    return ANSWERED;
  }

  /** What becomes of a request that writes whose preconditions do not hold; 412 has been answered then. */
  async #refusal(
    method: 'PUT' | 'DELETE',
    exchange: Exchange,
    key: string,
    record: ResponseRecord,
  ): Promise<Outcome | undefined> {
    const { headers } = exchange;
    if (!WRITE_PRECONDITIONS.some((name) => headers[name] !== undefined)) return undefined;
    const current = await this.#artifacts.describe(exchange, key);
    // What fails without its conditions fails with them in the same way (RFC 9110, 13.2.1).
    if (method === 'DELETE' && current === undefined) return 'missing';
    if (evaluatePreconditions(method, headers, current) === 'proceed') return undefined;
    exchange.refuseBody();
    this.#answerError(exchange, record, 412);
    return 'answered';
  }

  #reply(exchange: Exchange, record: ResponseRecord, reply: Reply, headers?: ResponseHeaders): void {
    record.status = reply.status;
    answerReply(exchange, reply, headers);
  }

  #answerError(exchange: Exchange, record: ResponseRecord, status: number, headers?: ResponseHeaders): void {
    record.status = status; // also where it cannot be sent
    record.status = answerError(exchange, status, headers, record.protocol);
  }

  #fail(exchange: Exchange, error: unknown, record: ResponseRecord): void {
    record.error = error;
    record.complete = false;
    const cause =
      error instanceof Error ? error : new Error('a store threw something that is not an error', { cause: error });
    if (exchange.closed || exchange.headersSent) {
      // Ended cleanly, the client would take half an artifact for the whole.
      exchange.destroy(cause);
      return;
    }
    if (mayHaveBody(exchange)) exchange.refuseBody();
    try {
      this.#answerError(exchange, record, statusOf(cause));
    } catch {
      exchange.destroy(cause); // the host has put something into the response that cannot be sent
    }
  }
}

const ANSWERED = Promise.resolve<Outcome>('answered');
const MISSING = Promise.resolve<Outcome>('missing');
const FOREIGN = Promise.resolve<Outcome>('foreign');
const READABLE = ['GET', 'HEAD'];
const WRITE_PRECONDITIONS = ['if-match', 'if-none-match', 'if-unmodified-since'] as const;
