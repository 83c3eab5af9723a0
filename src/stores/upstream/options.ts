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

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND = 1000;

/** What {@link upstreamStore} takes. Times are in milliseconds, sizes in bytes. */
export interface UpstreamStoreOptions extends LimitOptions {
  /** HTTP/2 without TLS, by prior knowledge (RFC 9113, 3.3): only for `http:` URLs. Default: false, HTTP/1.1. */
  readonly h2c?: boolean | undefined;
  /** Certificates to trust instead of those that Node brings, in PEM. What is not signed by one of them is refused. */
  readonly ca?: CertificateAuthorities | undefined;
  /** Sent as `Authorization: Bearer`. Never logged. */
  readonly token?: string | undefined;
  /** Sent as `Authorization: Basic`, in the place of what the URL holds. Never logged. */
  readonly credentials?:
    | {
        /** Without a colon (RFC 7617, 2). */
        readonly username: string;
        /** As it is, not percent-encoded. */
        readonly password: string;
      }
    | undefined;
}

/** One certificate or several, in PEM. */
export type CertificateAuthorities = string | Uint8Array | readonly (string | Uint8Array)[];

type LimitOptions = { readonly [Name in keyof UpstreamLimits]?: UpstreamLimits[Name] | undefined };

/** The times and sizes, each with its default in {@link DEFAULT_LIMITS}. */
export interface UpstreamLimits {
  /** From the first packet to a connection that can be used, TLS included. */
  readonly connectTimeoutMs: number;
  /** From the end of a request to the headers of its answer, the wait for a free connection or stream included. */
  readonly firstByteTimeoutMs: number;
  /** How long a body may stand still, up or down, while this side is ready for more. */
  readonly stallTimeoutMs: number;
  /** How long an answer waits for somebody to read its body before it is let go: who comes later costs another request. */
  readonly unopenedTimeoutMs: number;
  /** What the peer may send of one body before it is read (HTTP/2). */
  readonly streamWindowBytes: number;
  /** The same for all bodies of the session (HTTP/2). */
  readonly sessionWindowBytes: number;
  /** Connections at the same time (HTTP/1.1). */
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

/** Where the peer is and how to speak to it. */
export interface UpstreamSettings {
  /** Scheme, host and port; without credentials, so that it may stand in messages. */
  readonly origin: URL;
  /** What precedes the key, with a slash at its end. */
  readonly basePath: string;
  /** The URL's own query, with its question mark; empty without one. */
  readonly query: string;
  readonly h2c: boolean;
  readonly ca: CertificateAuthorities | undefined;
  /** The value of the Authorization header. */
  readonly authorization: string | undefined;
  readonly limits: UpstreamLimits;
}

/**
 * Fills in the defaults. No message of it shows the URL or a credential.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function upstreamSettingsOf(url: string | URL, options: UpstreamStoreOptions): UpstreamSettings {
  const parsed = parse(url);
  if (!OBJECT.accepts(options)) throw invalidOption('options', 'an object', typeof options);
  const { token, credentials, ...shown } = options;
  assertOptions(shown, CHECKS);
  const { h2c, ca, ...given } = shown;
  const isTls = parsed.protocol === 'https:';
  if (h2c === true && isTls) throw invalidOption('h2c', 'an http: URL with it', 'an https: URL');
  if (ca !== undefined && !isTls) throw invalidOption('ca', 'an https: URL with it', 'an http: URL');
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const limits: UpstreamLimits = { ...DEFAULT_LIMITS, ...set };
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

function parse(url: string | URL): URL {
  const expected = 'an http: or https: URL without a fragment';
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    // Not as the cause either: that one holds the URL, and with it the password.
    throw invalidOption('url', expected, typeof url === 'string' ? 'a string that is none' : typeof url);
  }
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:')
    throw invalidOption('url', expected, parsed.protocol);
  if (parsed.hash !== '') throw invalidOption('url', expected, 'one with a fragment');
  return parsed;
}

function authorizationOf(
  url: URL,
  token: UpstreamStoreOptions['token'],
  credentials: UpstreamStoreOptions['credentials'],
): string | undefined {
  if (token !== undefined) {
    // RFC 6750, 2.1: a header can carry no more, and a line break from a file must be seen here.
    const isToken = typeof token === 'string' && /^[\x21-\x7e]+$/.test(token);
    if (!isToken) throw hidden('token', 'visible ASCII characters');
    if (credentials !== undefined || url.username !== '' || url.password !== '') {
      throw hidden('token', 'no other credentials with it');
    }
    return `Bearer ${token}`;
  }
  if (credentials === undefined) {
    if (url.username === '' && url.password === '') return undefined;
    return basic(decode(url.username), decode(url.password));
  }
  const { username, password } = Object(credentials) as { readonly username?: unknown; readonly password?: unknown };
  // RFC 7617, 2: the first colon ends the name.
  if (typeof username !== 'string' || typeof password !== 'string' || username.includes(':')) {
    throw hidden('credentials', '{ username, password }, two strings, the first without ":"');
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
    throw hidden('url', 'credentials in percent-encoding');
  }
}

/** As {@link invalidOption}, but it does not show what was found. */
function hidden(name: string, expected: string): HotblobError {
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `${name}: expected ${expected}, received something else`);
}

const AUTHORITIES: OptionCheck = {
  expected: 'certificates in PEM',
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
