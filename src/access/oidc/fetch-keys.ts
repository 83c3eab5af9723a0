import { isTrustworthy } from './check-issuer.js';
import { isClaims } from './claims.js';
import type { OidcIssuer } from './options.js';
import { type SigningKey, signingKeysOf } from './signing-key.js';

/** Largest response that is read. Key sets of large issuers have a few dozen kilobytes. */
const MAX_BYTES = 1024 * 1024;
/** More keys than this are a mistake or an attack. */
const MAX_KEYS = 1000;

/**
 * Fetches the keys of an issuer: from `jwksUri`, or from the address in the discovery document (OpenID Connect Discovery
 * 1.0, section 4).
 *
 * @throws an Error with a message for operators
 */
export async function fetchKeys({ issuer, jwksUri }: OidcIssuer, timeoutMs: number): Promise<SigningKey[]> {
  const signal = AbortSignal.timeout(timeoutMs);
  const fetchObject = async (url: string): Promise<Readonly<Record<string, unknown>>> => {
    try {
      return await fetchJson(url, signal);
    } catch (error) {
      throw new Error(`${url}: ${signal.aborted ? `no response within ${timeoutMs} ms` : reasonOf(error)}`, {
        cause: error,
      });
    }
  };
  const url = jwksUri ?? (await discover(issuer, fetchObject));
  const { keys } = await fetchObject(url);
  if (!Array.isArray(keys)) throw new Error(`${url}: expected a key set, received an object without an array keys`);
  if (keys.length > MAX_KEYS) throw new Error(`${url}: expected at most ${MAX_KEYS} keys, received ${keys.length}`);
  return signingKeysOf(keys);
}

async function discover(
  issuer: string,
  fetchObject: (url: string) => Promise<Readonly<Record<string, unknown>>>,
): Promise<string> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const document = await fetchObject(url);
  // A document of another issuer would lead to its keys (section 4.3).
  if (document['issuer'] !== issuer) {
    throw new Error(`${url}: expected the issuer '${issuer}', received '${String(document['issuer'])}'`);
  }
  const target = document['jwks_uri'];
  // The document of a remote issuer must not make the server send requests to itself.
  if (typeof target !== 'string' || !isTrustworthy(target) || (isHttp(target) && !isHttp(issuer))) {
    throw new Error(`${url}: expected jwks_uri to be an https: URL, received '${String(target)}'`);
  }
  return target;
}

function isHttp(url: string): boolean {
  return new URL(url).protocol === 'http:';
}

async function fetchJson(url: string, signal: AbortSignal): Promise<Readonly<Record<string, unknown>>> {
  // A redirect could lead to a host that the operator has not named.
  const response = await fetch(url, { signal, redirect: 'error', headers: { accept: 'application/json' } });
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`status ${response.status}`);
  }
  const value: unknown = JSON.parse(await textOf(response, signal));
  if (isClaims(value)) return value;
  throw new Error('expected a JSON object');
}

/**
 * Returns the text of a body. The signal cancels the body itself: `fetch` refers to the signal only weakly, and after a garbage
 * collection does not notice that it is aborted.
 */
async function textOf({ body }: Response, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  if (body === null) return '';
  const reader = body.getReader();
  // If the body has failed, its error is that of read().
  const cancel = () => void reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener('abort', cancel, { once: true });
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      bytes += next.value.length;
      if (bytes > MAX_BYTES) {
        cancel();
        throw new Error(`more than ${MAX_BYTES} bytes`);
      }
      chunks.push(next.value);
    }
    // A body that was cancelled ends like a complete one.
    signal.throwIfAborted();
  } finally {
    signal.removeEventListener('abort', cancel);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The message of fetch() is only "fetch failed"; its cause has the reason. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause instanceof Error) return error.cause.message || error.cause.name;
  return error.message;
}
