import { HotblobError } from '../../contract/errors.js';
import {
  assertOptions,
  countFrom,
  FLAG,
  invalidOption,
  MILLISECONDS,
  OBJECT,
  type OptionCheck,
  WINDOW_BYTES,
} from '../../contract/validation.js';
import { definedOnly } from '../../util/defined-only.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND = 1000;

/** Options of `upstreamStore`. Times are in milliseconds, sizes in bytes. */
export interface UpstreamStoreOptions extends LimitOptions {
  /**
   * Whether to use HTTP/2 over cleartext with prior knowledge (RFC 9113, 3.3). Only for `http:` URLs. Default: `false`
   * (HTTP/1.1).
   */
  readonly h2c?: boolean | undefined;
  /**
   * Certificates of trusted authorities in PEM, instead of those of Node. Only for `https:` URLs. Default: those of
   * Node.
   */
  readonly ca?: CertificateAuthorities | undefined;
  /** Token to send as `Authorization: Bearer`. Never logged. */
  readonly token?: string | undefined;
  /** Credentials to send as `Authorization: Basic`, instead of those in the URL. Never logged. */
  readonly credentials?:
    | {
        /** User name. It must not contain a colon (RFC 7617, 2). */
        readonly username: string;
        /** Password, not percent-encoded. */
        readonly password: string;
      }
    | undefined;
}

/** One or more certificates in PEM. */
export type CertificateAuthorities = string | Uint8Array | readonly (string | Uint8Array)[];

type LimitOptions = { readonly [Name in keyof UpstreamLimits]?: UpstreamLimits[Name] | undefined };

/** Timeouts and sizes of an upstream store. */
export interface UpstreamLimits {
  /** Maximum time to open a connection, including the TLS handshake. Default: 5 s. */
  readonly connectTimeoutMs: number;
  /**
   * Maximum time from the end of a request to its response headers. Also the maximum time that a request waits for a
   * free connection or stream. Default: 15 s.
   */
  readonly firstByteTimeoutMs: number;
  /**
   * Maximum time without progress of a request body or response body, while the store is ready to send or receive more.
   * Default: 30 s.
   */
  readonly stallTimeoutMs: number;
  /**
   * Maximum time from a lookup until its artifact is opened. After that, the response body is cancelled, and opening
   * the artifact sends another GET. Default: 10 s.
   */
  readonly unopenedTimeoutMs: number;
  /** HTTP/2 flow-control window of a stream: bytes that the upstream may send before they are read. Default: 4 MiB. */
  readonly streamWindowBytes: number;
  /** HTTP/2 flow-control window of the session. At least `streamWindowBytes`. Default: 32 MiB. */
  readonly sessionWindowBytes: number;
  /** Maximum number of HTTP/1.1 connections. Default: 128. */
  readonly maxConnections: number;
}

export const DEFAULT_LIMITS: UpstreamLimits = {
  connectTimeoutMs: 5 * SECOND,
  firstByteTimeoutMs: 15 * SECOND,
  stallTimeoutMs: 30 * SECOND,
  unopenedTimeoutMs: 10 * SECOND,
  streamWindowBytes: 4 * MIB,
  sessionWindowBytes: 32 * MIB,
  maxConnections: 128,
};

/** Validated options with defaults filled in. */
export interface UpstreamSettings {
  /** Scheme, host and port. Contains no credentials, so error messages may show it. */
  readonly origin: URL;
  /** Path in front of the key, with a trailing slash. */
  readonly basePath: string;
  /** Query of the URL with its question mark, or the empty string. */
  readonly query: string;
  readonly h2c: boolean;
  readonly ca: CertificateAuthorities | undefined;
  /** Value of the `Authorization` header. */
  readonly authorization: string | undefined;
  readonly limits: UpstreamLimits;
}

/**
 * Validates the options and fills in the defaults. Error messages never contain the URL or credentials.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function upstreamSettingsOf(url: string | URL, options: UpstreamStoreOptions): UpstreamSettings {
  const parsed = parse(url);
  if (!OBJECT.accepts(options)) throw invalidOption('options', 'an object', typeof options);
  const { token, credentials, ...nonSecret } = options;
  assertOptions(nonSecret, CHECKS);
  const { h2c, ca, ...limitOptions } = nonSecret;
  const isTls = parsed.protocol === 'https:';
  if (h2c === true && isTls) throw misplaced('h2c', 'http', 'https');
  if (ca !== undefined && !isTls) throw misplaced('ca', 'https', 'http');
  const limits: UpstreamLimits = { ...DEFAULT_LIMITS, ...definedOnly(limitOptions) };
  if (limits.sessionWindowBytes < limits.streamWindowBytes) {
    throw invalidOption('sessionWindowBytes', 'at least streamWindowBytes', limits.sessionWindowBytes);
  }
  return {
    origin: new URL(parsed.origin),
    basePath: parsed.pathname.endsWith('/') ? parsed.pathname : `${parsed.pathname}/`,
    query: parsed.search,
    h2c: h2c ?? false,
    ca,
    authorization: authorizationOf(parsed, token, credentials),
    limits,
  };
}

/** Returns the error for an invalid URL. `received` describes the URL, which may contain a password. */
function invalidUrl(received: string): HotblobError {
  const message = `url: expected an http: or https: URL without a fragment, received ${received}`;
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
}

function parse(url: string | URL): URL {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    // The original error does not become the cause, because it contains the URL and therefore the password.
    throw invalidUrl(typeof url === 'string' ? 'a string that is not a URL' : typeof url);
  }
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') {
    throw invalidUrl(`a URL with the scheme ${parsed.protocol}`);
  }
  if (parsed.hash !== '') throw invalidUrl('a URL with a fragment');
  return parsed;
}

function authorizationOf(
  url: URL,
  token: UpstreamStoreOptions['token'],
  credentials: UpstreamStoreOptions['credentials'],
): string | undefined {
  if (token !== undefined) {
    // A header cannot carry other characters (RFC 6750, 2.1). The check also finds a line break at the end of a token
    // that was read from a file.
    const isToken = typeof token === 'string' && /^[\x21-\x7e]+$/.test(token);
    if (!isToken) throw invalidSecret('token', 'visible ASCII characters');
    if (credentials !== undefined || url.username !== '' || url.password !== '') {
      const message = 'token: cannot be combined with credentials, or with a user name or password in url';
      throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
    }
    return `Bearer ${token}`;
  }
  if (credentials === undefined) {
    if (url.username === '' && url.password === '') return undefined;
    return basic(decode(url.username), decode(url.password));
  }
  const { username, password } = Object(credentials) as { readonly username?: unknown; readonly password?: unknown };
  // The first colon ends the user name (RFC 7617, 2).
  if (typeof username !== 'string' || typeof password !== 'string' || username.includes(':')) {
    throw invalidSecret('credentials', '{ username, password } with two strings, and no ":" in username');
  }
  return basic(username, password);
}

function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function decode(component: string): string {
  try {
    return decodeURIComponent(component);
  } catch {
    throw invalidSecret('url', 'percent-encoded credentials');
  }
}

/** Returns the error for an option that does not apply to the scheme of `url`. */
function misplaced(name: string, expected: string, received: string): HotblobError {
  const message = `${name}: requires an ${expected}: URL, received an ${received}: URL`;
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
}

/** Returns the error for an invalid secret, like {@link invalidOption} but without the received value. */
function invalidSecret(name: string, expected: string): HotblobError {
  return new HotblobError(
    'ERR_HOTBLOB_INVALID_OPTION',
    `${name}: expected ${expected} (the received value is not shown)`,
  );
}

const AUTHORITIES: OptionCheck = {
  expected: 'one or more certificates in PEM',
  accepts: (value) => (Array.isArray(value) ? value : [value]).every(isCertificate),
};

function isCertificate(value: unknown): boolean {
  return typeof value === 'string' || value instanceof Uint8Array;
}

const CHECKS: Readonly<Record<Exclude<keyof UpstreamStoreOptions, 'token' | 'credentials'>, OptionCheck>> = {
  h2c: FLAG,
  ca: AUTHORITIES,
  connectTimeoutMs: MILLISECONDS,
  firstByteTimeoutMs: MILLISECONDS,
  stallTimeoutMs: MILLISECONDS,
  unopenedTimeoutMs: MILLISECONDS,
  streamWindowBytes: WINDOW_BYTES,
  sessionWindowBytes: WINDOW_BYTES,
  maxConnections: countFrom(1),
};
