import { type AccessOutcome, type AccessRefusal, CHALLENGE, checkAccess } from '../access/policy.js';
import type { Artifact, FileArtifact } from '../contract/artifact.js';
import type { Exchange } from '../contract/exchange.js';
import { assertOperation } from '../protocols/mounted.js';
import {
  type AnswerOperation,
  changesState,
  type Operation,
  type ReadOperation,
  type Reply,
  requiredAccess,
} from '../protocols/protocol.js';
import { isPromise } from '../util/is-promise.js';
import { MisuseGuard } from './misuse-guard.js';
import { type HandlerOptions, type Settings, settingsOf } from './options.js';
import { createProtocolRequest, warnOfRemovedPath } from './protocol-request.js';
import { replyError, replyFailure, replyTo } from './record-reply.js';
import { mayHaveBody } from './reply.js';
import { waitForEarlierRequests } from './request-order.js';
import { RequestSignal } from './request-signal.js';
import { ResponseRecord } from './response-record.js';
import { type Sender, type SendResult, sendArtifact, trySendArtifact } from './sender.js';
import { createServing, type Serving } from './serving.js';
import type { HandlerStats } from './stats.js';
import { ProtocolStoreAccess, readOnlyError, StoreAccess } from './store-access.js';
import { createPlainView, ScopedView, type View } from './view.js';
import { Writes } from './writes.js';

/** Serves a store over the protocols of build caches, and sends artifacts from routes of the host. */
export interface Handler extends Sender<[exchange: Exchange]> {
  /**
   * Handles a request: checks access, performs the operation on the store, and responds. Resolves to true when the
   * response has ended. Resolves to false if the host must respond; nothing has then been sent. This happens if no
   * protocol matched. With `fallthrough`, it also happens if the artifact is missing, the method is not
   * supported or the key is invalid. Never rejects.
   */
  handle(exchange: Exchange): Promise<boolean>;
}

/** Object that handles exchanges: a {@link Handler}, or an object that wraps handlers. */
export type ExchangeHandler = Pick<Handler, 'handle'>;

/**
 * Creates a handler. The caller owns the store and closes it after the handler.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or invalid option
 * @throws HotblobError `ERR_HOTBLOB_INVALID_STORE` if the store lacks a required method
 */
export function createHandler(options: HandlerOptions): Handler {
  return new CacheHandler(settingsOf(options));
}

/**
 * Outcome of a request. `answered`: a response has been sent. `foreign`: the request is not for this handler.
 * `missing`: the store has no artifact under the key. For `foreign` and `missing`, nothing has been sent.
 */
type Outcome = 'answered' | 'missing' | 'foreign';

class CacheHandler extends MisuseGuard implements Handler {
  readonly #settings: Settings;
  readonly #serving: Serving;
  readonly #access: StoreAccess;
  readonly #plainView: View;
  readonly #writes: Writes;

  constructor(settings: Settings) {
    super();
    this.#settings = settings;
    this.#serving = createServing(settings, this);
    this.#access = new StoreAccess(this.#serving.openFiles, this.#serving.download);
    this.#plainView = createPlainView(settings.store, settings.overwrite);
    this.#writes = new Writes(settings, this.#access);
  }

  async handle(exchange: Exchange): Promise<boolean> {
    const record = new ResponseRecord(exchange, 'none', this.#serving.reporter);
    try {
      let outcome = await this.#route(exchange, record);
      if (record.vanished !== undefined) outcome = await this.#lookUpAgain(exchange, record.vanished, record);
      record.countLookup(outcome === 'answered');
      if (outcome !== 'answered') {
        if (outcome === 'foreign' || this.#settings.fallthrough) {
          record.abandon();
          return false;
        }
        replyError(record, 404);
      }
    } catch (error) {
      replyFailure(record, error);
    }
    record.finish();
    return true;
  }

  send(exchange: Exchange, artifact: Artifact): Promise<SendResult> {
    return sendArtifact(this.#serving, exchange, artifact);
  }

  trySend(exchange: Exchange, artifact: Artifact): Promise<SendResult | false> {
    return trySendArtifact(this.#serving, exchange, artifact);
  }

  stats(): HandlerStats {
    return this.#serving.stats();
  }

  close(): void {
    this.#serving.close();
  }

  // The methods of the hot path are not async: a promise costs as much as the rest of such a method.
  #route(exchange: Exchange, record: ResponseRecord): Promise<Outcome> {
    const { mountPath, protocols, fallthrough, cors, guard } = this.#settings;
    const request = createProtocolRequest(exchange, mountPath);
    if (request === undefined) {
      warnOfRemovedPath(exchange, mountPath);
      return FOREIGN;
    }
    const recognition = protocols.recognise(request);
    if (recognition === undefined) return FOREIGN;
    record.protocol = recognition.protocol;
    const { operation } = recognition;
    if (cors !== undefined) {
      record.restoreExchange = cors.addTo(exchange);
      const reply = cors.preflightReply(exchange);
      if (reply !== undefined) {
        replyTo(record, reply);
        return ANSWERED;
      }
    }
    // A path that is not a valid key may be a path of the next handler.
    if (fallthrough && (operation === undefined || operation.kind === 'unsupported')) return FOREIGN;
    if (operation !== undefined) {
      record.key = recognition.key;
      record.operation = operation.kind;
      if (operation.kind !== 'unsupported') record.namespace = operation.namespace;
    }
    guard.check(exchange, changesState(exchange.method, operation));
    if (operation === undefined) throw recognition.error;
    const turn = waitForEarlierRequests(exchange);
    if (turn === undefined) return this.#authorise(exchange, operation, record);
    return turn.then(() => {
      record.hasWaited = true;
      return this.#authorise(exchange, operation, record);
    });
  }

  /** Checks access before the lookup, so that a client without access learns nothing about keys. */
  #authorise(exchange: Exchange, operation: Operation, record: ResponseRecord): Promise<Outcome> {
    const { access, guard } = this.#settings;
    record.view = this.#plainView;
    if (access === undefined || operation.kind === 'unsupported') return this.#perform(exchange, operation, record);
    const needs = requiredAccess(operation);
    const outcome = checkAccess(access, exchange, {
      protocol: record.protocol?.name ?? '',
      namespace: operation.namespace,
      operation: operation.kind === 'delete' ? 'delete' : needs === 'write' ? 'upload' : 'read',
      key: record.key,
      needs,
    });
    const proceed = (result: AccessOutcome): Promise<Outcome> => {
      if (typeof result === 'number') return this.#deny(result, record);
      if (result !== undefined) {
        const { store, overwrite } = this.#settings;
        record.view = new ScopedView(store, this.#serving.openFiles, result, overwrite);
      }
      if (needs !== 'none' && exchange.headers.authorization === undefined) guard.checkAnonymous(exchange);
      return this.#perform(exchange, operation, record);
    };
    return outcome instanceof Promise ? outcome.then(proceed) : proceed(outcome);
  }

  #deny(status: AccessRefusal, record: ResponseRecord): Promise<Outcome> {
    replyError(record, status, status === 401 ? { 'www-authenticate': CHALLENGE } : undefined);
    return ANSWERED;
  }

  #perform(exchange: Exchange, operation: Operation, record: ResponseRecord): Promise<Outcome> {
    const { key = '' } = record;
    switch (operation.kind) {
      case 'read':
        if (operation.check !== undefined) return this.#getChecked(exchange, key, operation.check, record);
        return this.#get(exchange, key, record);
      case 'upload':
        if (this.#settings.store.put === undefined) return this.#answerReadOnly(record);
        return this.#writes.put(exchange, key, operation, record);
      case 'delete':
        if (this.#settings.store.delete === undefined) return this.#answerReadOnly(record);
        return this.#writes.delete(exchange, key, record);
      case 'answer':
        if (operation.needs === 'write' && this.#settings.store.put === undefined) return this.#answerReadOnly(record);
        return this.#answer(exchange, operation, record);
      case 'unsupported':
        return this.#answerUnsupported(operation.allow, record);
    }
  }

  #get(exchange: Exchange, key: string, record: ResponseRecord): Promise<Outcome> {
    record.wasLookedUp = true;
    const found = record.view.readable.get(key, new RequestSignal(exchange));
    if (isPromise(found)) return found.then((artifact) => this.#sendFound(exchange, artifact, record, true));
    return this.#sendFound(exchange, found, record, false);
  }

  /** Sends an artifact if the protocol permits it. Otherwise the request is a miss. */
  async #getChecked(
    exchange: Exchange,
    key: string,
    check: NonNullable<ReadOperation['check']>,
    record: ResponseRecord,
  ): Promise<Outcome> {
    record.wasLookedUp = true;
    return (await check(this.#artifactsFor(record))) ? this.#get(exchange, key, record) : 'missing';
  }

  #sendFound(
    exchange: Exchange,
    artifact: Artifact | undefined,
    record: ResponseRecord,
    isAsync: boolean,
  ): Promise<Outcome> {
    if (artifact === undefined) return MISSING;
    record.found(isAsync);
    return this.#serving.download.answer(exchange, artifact, record);
  }

  /**
   * Repeats the lookup. Called if the file of an artifact was deleted after the lookup and before it was opened. The
   * store may have moved the artifact to another file, for example by compaction of a segment store.
   */
  async #lookUpAgain(exchange: Exchange, vanished: FileArtifact, record: ResponseRecord): Promise<Outcome> {
    const found = await record.view.readable.get(record.key ?? '', new RequestSignal(exchange));
    if (found === undefined || (found.kind === 'file' && found.path === vanished.path)) return 'missing';
    record.found(true);
    return this.#serving.download.answer(exchange, found, record);
  }

  /** Performs an operation to which the protocol itself responds. */
  #answer(exchange: Exchange, operation: AnswerOperation, record: ResponseRecord): Promise<Outcome> {
    const artifacts = this.#artifactsFor(record);
    const reply = operation.answer(artifacts);
    if (!isPromise(reply)) return this.#follow(exchange, reply, artifacts, record);
    const outcome = reply.then((awaited) => this.#follow(exchange, awaited, artifacts, record));
    return outcome.finally(() => artifacts.bodyInMemory?.release());
  }

  /** Sends the reply of a protocol, or performs the operation that it has returned instead. */
  #follow(
    exchange: Exchange,
    reply: Reply | Operation,
    artifacts: ProtocolStoreAccess,
    record: ResponseRecord,
  ): Promise<Outcome> {
    // A protocol that is written in JavaScript may return anything.
    if (typeof reply === 'object' && reply !== null && 'kind' in reply) {
      if (record.protocol !== undefined) assertOperation(reply, record.protocol);
      if ('key' in reply && reply.key !== undefined) record.key = artifacts.storeKey(reply.key);
      record.operation = reply.kind;
      return this.#perform(exchange, reply, record);
    }
    if (!artifacts.hasReadBody && mayHaveBody(exchange)) exchange.refuseBody();
    const sent = replyTo(record, reply);
    // The answer to a large body may be large as well. It is in memory until the client has received it.
    return artifacts.bodyInMemory?.isLarge && sent ? sent.then(() => 'answered') : ANSWERED;
  }

  #artifactsFor(record: ResponseRecord): ProtocolStoreAccess {
    return new ProtocolStoreAccess(record, this.#access, this.#settings.protocols, this.#settings);
  }

  #answerReadOnly(record: ResponseRecord): Promise<Outcome> {
    return this.#answerUnsupported(READ_METHODS, record, readOnlyError());
  }

  /** Responds with 405. With `fallthrough`, passes the request to the host instead. */
  #answerUnsupported(methods: readonly string[], record: ResponseRecord, error?: Error): Promise<Outcome> {
    const { store, fallthrough } = this.#settings;
    if (fallthrough) return FOREIGN;
    const allow = methods.filter((method) => {
      if (method === 'DELETE') return store.delete !== undefined;
      return method !== 'PUT' || store.put !== undefined;
    });
    replyError(record, 405, { allow: allow.join(', ') }, error);
    return ANSWERED;
  }
}

const ANSWERED = Promise.resolve<Outcome>('answered');
const MISSING = Promise.resolve<Outcome>('missing');
const FOREIGN = Promise.resolve<Outcome>('foreign');
const READ_METHODS = ['GET', 'HEAD'];
