import { AllowedHosts, isLoopbackAddress } from '../access/hosts.js';
import { logAccess } from '../access/log.js';
import { isCrossOrigin } from '../access/origins.js';
import type { AccessPolicy } from '../access/policy.js';
import { HotblobError } from '../contract/errors.js';
import type { Exchange } from '../contract/exchange.js';

/** Options of a handler or a page that its {@link BrowserGuard} depends on. */
export interface BrowserGuardOptions {
  readonly access?: AccessPolicy | undefined;
  readonly allowedHosts?: readonly string[] | undefined;
  /** Origins whose pages may send requests that change something. */
  readonly origins?: ReadonlySet<string> | undefined;
}

/**
 * Refuses what a web page of another site can make a browser send: requests that change something (cross-site request
 * forgery), and requests for a name that the site has made resolve to this machine (DNS rebinding).
 */
export class BrowserGuard {
  readonly #hosts: AllowedHosts;
  /** Requests whose host is checked: all, all on loopback, or those on loopback without credentials. */
  readonly #appliesTo: 'all' | 'loopback' | 'anonymous';
  readonly #origins: ReadonlySet<string> | undefined;
  /** Host of the last request. Nearly all requests are for one host, so it is rarely looked at twice. */
  #lastHost: string | undefined;
  #isLastAllowed = true;

  constructor({ access, allowedHosts, origins }: BrowserGuardOptions) {
    this.#hosts = new AllowedHosts(allowedHosts ?? []);
    this.#appliesTo = allowedHosts !== undefined ? 'all' : access === undefined ? 'loopback' : 'anonymous';
    this.#origins = origins;
  }

  /**
   * Checks a request before its body and the store are read.
   *
   * @param changesState whether the request can change something
   * @throws HotblobError `ERR_HOTBLOB_HOST_NOT_ALLOWED` (421), `ERR_HOTBLOB_CROSS_ORIGIN` (403)
   */
  check(exchange: Exchange, changesState: boolean): void {
    if (this.#appliesTo !== 'anonymous') this.#checkHost(exchange);
    if (changesState) this.#checkOrigin(exchange);
  }

  /**
   * Checks the host of a request without credentials that the access policy has granted. A page whose name resolves to this
   * machine sends such requests, because a browser has no credentials for that name.
   *
   * @throws HotblobError `ERR_HOTBLOB_HOST_NOT_ALLOWED` (421)
   */
  checkAnonymous(exchange: Exchange): void {
    if (this.#appliesTo === 'anonymous') this.#checkHost(exchange);
  }

  #checkHost(exchange: Exchange): void {
    const host = hostOf(exchange);
    if (host !== this.#lastHost) {
      // A browser always names the host. HTTP/1.0 and HTTP/2 do not require it.
      this.#isLastAllowed = host === undefined || host === '' || this.#hosts.includes(host);
      this.#lastHost = host;
    }
    if (this.#isLastAllowed || (this.#appliesTo !== 'all' && !isLocal(exchange))) return;
    const message = `allowedHosts: expected a request for a host of this list or for localhost, received one for ${host}`;
    logAccess('refused: %s', message);
    throw new HotblobError('ERR_HOTBLOB_HOST_NOT_ALLOWED', message);
  }

  #checkOrigin(exchange: Exchange): void {
    const { origin, 'sec-fetch-site': site } = exchange.headers;
    if (origin === undefined && site === undefined) return;
    if (origin !== undefined && this.#origins?.has(origin)) return;
    const host = hostOf(exchange);
    if (!isCrossOrigin({ origin, site, host, secure: exchange.secure })) return;
    const message = `cors: expected ${exchange.method} from a page of this server or of this list, received one from origin ${origin}, site ${site}, for host ${host}`;
    logAccess('refused: %s', message);
    throw new HotblobError('ERR_HOTBLOB_CROSS_ORIGIN', message);
  }
}

function hostOf({ headers, multiplexed }: Exchange): string | undefined {
  const authority = multiplexed ? headers[':authority'] : undefined;
  return typeof authority === 'string' ? authority : headers.host;
}

/** A host that does not tell the address may listen on the loopback interface. */
function isLocal({ localAddress }: Exchange): boolean {
  return localAddress === undefined || isLoopbackAddress(localAddress);
}
