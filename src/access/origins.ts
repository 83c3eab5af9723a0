import type { OptionCheck } from '../contract/validation.js';

/** Check of the option `cors`. */
export const ORIGINS: OptionCheck = {
  expected: "an array of origins, such as 'https://app.example.com'",
  accepts: (value) => Array.isArray(value) && value.every(isOrigin),
};

/** Whether a value is an origin as browsers send it: without a path and a default port, in lower case. */
function isOrigin(value: unknown): boolean {
  if (typeof value !== 'string' || !URL.canParse(value)) return false;
  // The origin of a browser extension has a scheme that URL does not know.
  return /^https?:/.test(value) ? new URL(value).origin === value : /^[a-z][a-z0-9+.-]*:\/\/[\w.-]+$/.test(value);
}

/** Headers by which a browser tells where a request comes from. Scripts cannot set them (Fetch standard, 2.2.2). */
export interface RequestOrigin {
  /** Value of `Origin`. */
  readonly origin: string | undefined;
  /** Value of `Sec-Fetch-Site`. Browsers send it over HTTPS and to the loopback interface. */
  readonly site: string | string[] | undefined;
  /** Value of `Host` or `:authority`. */
  readonly host: string | undefined;
  /** Whether the connection uses TLS. Undefined if that is not known. */
  readonly secure: boolean | undefined;
}

/**
 * Whether a browser says that a request comes from a page of another origin. Clients that are not browsers send neither
 * header.
 */
export function isCrossOrigin({ origin, site, host, secure }: RequestOrigin): boolean {
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true;
  return origin !== undefined && !isOwnOrigin(origin, host, secure);
}

/**
 * Compares an origin with the host that the request is for. A proxy may terminate TLS, so on a plain connection the
 * origin can have either scheme; if the connection itself uses TLS, a page loaded without TLS is of another origin.
 */
function isOwnOrigin(origin: string, host: string | undefined, secure: boolean | undefined): boolean {
  const [, scheme, authority] = /^(https?):\/\/(.+)$/.exec(origin) ?? [];
  if (scheme === undefined || host === undefined || (secure === true && scheme === 'http')) return false;
  // Browsers omit a default port, some proxies do not.
  return authority === host.toLowerCase().replace(scheme === 'http' ? /:80$/ : /:443$/, '');
}
