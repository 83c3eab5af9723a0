import type * as Jose from 'jose';

/** Public key of an issuer. */
export interface SigningKey {
  /** Key id; `undefined` if the key set does not name one. */
  readonly id: string | undefined;
  /** Signature algorithms that the key can verify. */
  readonly algorithms: readonly string[];
  /** Public members of the JWK. Two keys with the same text are the same key. */
  readonly text: string;
  /** Whether the issuer still publishes the key. Tokens that the key has signed are accepted only while this is true. */
  isCurrent: boolean;
  /** Imports the key for an algorithm. Repeated calls return the same key. */
  import(jose: typeof Jose, algorithm: string): Promise<ImportedKey>;
}

/** Key in the form in which `jose` verifies with it, in all its versions. */
export type ImportedKey = Exclude<Parameters<typeof Jose.compactVerify>[1], (...parameters: never) => unknown>;

/** Public members of a JWK. All others, such as private ones, are ignored. */
const PUBLIC_MEMBERS = ['kty', 'crv', 'n', 'e', 'x', 'y'] as const;

/**
 * Accepted algorithms by type and curve of the key. There is no symmetric algorithm, and no `none`: with an algorithm
 * that is bound to the type of the key, a token cannot choose how it is verified.
 */
const ALGORITHMS: Readonly<Record<string, readonly string[]>> = {
  RSA: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  'EC P-256': ['ES256'],
  'EC P-384': ['ES384'],
  'EC P-521': ['ES512'],
  'OKP Ed25519': ['EdDSA', 'Ed25519'],
};

/** Algorithms that any key could verify. */
export const ALL_ALGORITHMS: ReadonlySet<unknown> = new Set(Object.values(ALGORITHMS).flat());

type Jwk = Readonly<Record<string, unknown>>;

/** Returns why a JWK cannot verify the signature of a token, or `undefined` if it can. */
export function unusableReason(jwk: Jwk): string | undefined {
  const { kty, crv, use, key_ops: operations, kid } = jwk;
  if (algorithmsOf(jwk).length === 0) return `a key of type ${nameOf(kty)} ${nameOf(crv ?? '')}`.trimEnd();
  if (use !== undefined && use !== 'sig') return `a key for use ${nameOf(use)}`;
  if (Array.isArray(operations) && !operations.includes('verify')) return "a key whose key_ops lack 'verify'";
  if (kid !== undefined && typeof kid !== 'string') return 'a key whose kid is not a string';
  return undefined;
}

/** Returns the usable keys of a key set. Other keys, such as those for encryption, are ignored. */
export function signingKeysOf(jwks: readonly unknown[]): SigningKey[] {
  const keys: SigningKey[] = [];
  for (const value of jwks) {
    const jwk = typeof value === 'object' && value !== null ? (value as Jwk) : {};
    if (unusableReason(jwk) === undefined) keys.push(createKey(jwk));
  }
  return keys;
}

/** Returns a text, or the type of another value: an object of a key set may have no conversion to a string. */
function nameOf(value: unknown): string {
  return typeof value === 'string' ? value : typeof value;
}

function algorithmsOf({ kty, crv, alg }: Jwk): readonly string[] {
  const name = kty === 'RSA' ? kty : `${nameOf(kty)} ${nameOf(crv)}`;
  const algorithms = Object.hasOwn(ALGORITHMS, name) ? (ALGORITHMS[name] ?? []) : [];
  return alg === undefined ? algorithms : algorithms.filter((each) => each === alg);
}

function createKey(jwk: Jwk): SigningKey {
  const members = Object.fromEntries(
    PUBLIC_MEMBERS.flatMap((name) => (jwk[name] === undefined ? [] : [[name, jwk[name]]])),
  );
  const algorithms = algorithmsOf(jwk);
  const imported = new Map<string, Promise<ImportedKey>>();
  return {
    id: typeof jwk['kid'] === 'string' ? jwk['kid'] : undefined,
    algorithms,
    text: JSON.stringify([jwk['kid'], algorithms, members]),
    isCurrent: true,
    import(jose, algorithm) {
      const known = imported.get(algorithm);
      if (known !== undefined) return known;
      const key = jose.importJWK(members, algorithm);
      imported.set(algorithm, key);
      return key;
    },
  };
}
