import { type AccessPolicy, type AccessRefusal, CHALLENGE, checkAccess } from '../access/policy.js';
import { OPERATOR_PROTOCOL } from '../access/token-syntax.js';
import { statusOf } from '../contract/errors.js';
import type { Exchange, ResponseHeaders } from '../contract/exchange.js';
import { BrowserGuard } from './browser-guard.js';
import { answerError } from './reply.js';

/** Decides who may see the pages of operators. */
export class OperatorAccess {
  readonly #access: AccessPolicy | undefined;
  readonly #guard: BrowserGuard;

  constructor(access: AccessPolicy | undefined, allowedHosts: readonly string[] | undefined) {
    this.#access = access;
    this.#guard = new BrowserGuard({ access, allowedHosts });
  }

  /**
   * Whether a request may read a page. If not, responds with 421, 403, 405 or 401, without reading the request body.
   *
   * @param needs `none` for a page that needs no access
   */
  async admits(exchange: Exchange, needs: 'none' | 'read'): Promise<boolean> {
    const isRead = exchange.method === 'GET' || exchange.method === 'HEAD';
    try {
      this.#guard.check(exchange, !isRead || !isNavigation(exchange));
    } catch (error) {
      return refuse(exchange, statusOf(error), {}, error);
    }
    if (!isRead) return refuse(exchange, 405, { allow: 'GET, HEAD' });
    const { authorization } = exchange.headers;
    const refusal = needs === 'none' ? undefined : await this.refusalOf(exchange);
    if (refusal !== undefined) {
      return refuse(exchange, refusal, refusal === 401 ? { 'www-authenticate': CHALLENGE } : {});
    }
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
    if (this.#access === undefined) return undefined;
    const check = { protocol: OPERATOR_PROTOCOL, operation: 'read', needs: 'read' } as const;
    const outcome = await checkAccess(this.#access, exchange, check);
    if (outcome === undefined || typeof outcome === 'number') return outcome;
    return outcome.isUnscoped ? undefined : 403;
  }
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
