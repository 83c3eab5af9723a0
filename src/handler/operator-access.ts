import { type AccessOutcome, type AccessPolicy, type AccessRefusal, CHALLENGE, checkAccess } from '../access/policy.js';
import { OPERATOR_PROTOCOL } from '../access/token-syntax.js';
import { HotblobError, statusOf } from '../contract/errors.js';
import type { Exchange, ResponseHeaders } from '../contract/exchange.js';
import { BrowserGuard } from './browser-guard.js';
import { answerError } from './reply.js';

/** Access to a page: none is needed, or the client may read, or may delete artifacts by POST. */
export type OperatorNeed = 'none' | 'read' | 'write';

/** Decides who may see the pages of operators, and who may purge. */
export class OperatorAccess {
  readonly #access: AccessPolicy | undefined;
  readonly #guard: BrowserGuard;
  readonly #overwrite: boolean;

  /** @param overwrite whether clients for which the policy does not say so may delete artifacts, as in the option of the handler */
  constructor(access: AccessPolicy | undefined, allowedHosts: readonly string[] | undefined, overwrite = true) {
    this.#access = access;
    this.#overwrite = overwrite;
    this.#guard = new BrowserGuard({ access, allowedHosts });
  }

  /**
   * Whether a request has the access that a page needs. If not, responds with 421, 403, 405 or 401, without reading the request
   * body.
   */
  async admits(exchange: Exchange, needs: OperatorNeed): Promise<boolean> {
    const isRead = exchange.method === 'GET' || exchange.method === 'HEAD';
    const allow = needs === 'write' ? 'POST' : 'GET, HEAD';
    try {
      this.#guard.check(exchange, !isRead || !isNavigation(exchange));
    } catch (error) {
      return refuse(exchange, statusOf(error), {}, error);
    }
    if (needs === 'write' ? exchange.method !== 'POST' : !isRead) return refuse(exchange, 405, { allow });
    const { authorization } = exchange.headers;
    const outcome = needs === 'none' ? undefined : await this.#check(exchange, needs);
    const refusal = refusalIn(outcome);
    if (refusal !== undefined) {
      return refuse(exchange, refusal, refusal === 401 ? { 'www-authenticate': CHALLENGE } : {});
    }
    if (needs === 'write' && !this.#mayDelete(outcome)) return refuse(exchange, 403, {}, writeOnceError());
    if (authorization === undefined && needs !== 'none') {
      try {
        this.#guard.checkAnonymous(exchange);
      } catch (error) {
        return refuse(exchange, statusOf(error), {}, error);
      }
    }
    return true;
  }

  /**
   * Returns the status with which a request for a page is refused, or undefined. The pages show the artifacts of all scopes, so a
   * client that the policy restricts to scopes is refused.
   */
  async refusalOf(exchange: Exchange): Promise<AccessRefusal | undefined> {
    return refusalIn(await this.#check(exchange, 'read'));
  }

  /** Returns whether the client of a request, which is admitted to read, may delete artifacts by POST. */
  async mayWrite(exchange: Exchange): Promise<boolean> {
    const outcome = await this.#check(exchange, 'write');
    return refusalIn(outcome) === undefined && this.#mayDelete(outcome);
  }

  #mayDelete(outcome: AccessOutcome): boolean {
    return (typeof outcome === 'object' ? outcome.overwrite : undefined) ?? this.#overwrite;
  }

  async #check(exchange: Exchange, needs: 'read' | 'write'): Promise<AccessOutcome> {
    if (this.#access === undefined) return undefined;
    const operation = needs === 'write' ? 'delete' : 'read';
    return checkAccess(this.#access, exchange, { protocol: OPERATOR_PROTOCOL, operation, needs });
  }
}

function refusalIn(outcome: AccessOutcome): AccessRefusal | undefined {
  if (typeof outcome === 'number') return outcome;
  return outcome === undefined || outcome.isUnscoped ? undefined : 403;
}

function writeOnceError(): HotblobError {
  const message = 'purge: expected a client that may delete artifacts (overwrite), received one that may not';
  return new HotblobError('ERR_HOTBLOB_WRITE_ONCE', message);
}

/**
 * Whether a user has opened the page, possibly through a link on another site. Other requests of that site, such as
 * those of an image or a frame, could take the places of event streams or make the server list its store.
 */
function isNavigation({ headers }: Exchange): boolean {
  return headers['sec-fetch-dest'] === 'document';
}

function refuse(exchange: Exchange, status: number, headers: ResponseHeaders, error?: unknown): false {
  answerError(exchange, status, headers, undefined, error);
  return false;
}
