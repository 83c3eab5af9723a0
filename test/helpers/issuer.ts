import { generateKeyPairSync, type JsonWebKey, type KeyObject, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ExecutionContext } from 'ava';

export type Algorithm = 'RS256' | 'ES256' | 'EdDSA';
export type TokenClaims = Readonly<Record<string, unknown>>;

interface IssuerKey {
  readonly id: string;
  readonly algorithm: Algorithm;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly jwk: JsonWebKey;
}

/** Identity provider: an HTTP server with a discovery document and a key set, which signs tokens without `jose`. */
export class Issuer {
  /** Number of requests for the key set. */
  requests = 0;
  /** Answers requests for the key set instead of the issuer, for example with an error, late, or never. */
  respond: ((response: ServerResponse) => void) | undefined;
  /** Changes the discovery document. */
  discovery: TokenClaims = {};
  readonly #server: Server;
  readonly #keys: IssuerKey[] = [];

  /** Starts an issuer with one key. It is stopped with the test. */
  static async start(t: ExecutionContext, algorithm: Algorithm = 'ES256', keyId = 'key-1'): Promise<Issuer> {
    const issuer = new Issuer();
    issuer.addKey(algorithm, keyId);
    issuer.#server.listen(0, '127.0.0.1');
    await once(issuer.#server, 'listening');
    t.teardown(() => {
      issuer.#server.closeAllConnections();
      issuer.#server.close();
    });
    return issuer;
  }

  private constructor() {
    this.#server = createServer((request, response) => {
      if (request.url === '/.well-known/openid-configuration') {
        answer(response, { issuer: this.url, jwks_uri: `${this.url}/keys`, ...this.discovery });
        return;
      }
      this.requests++;
      if (this.respond === undefined) this.sendKeys(response);
      else this.respond(response);
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`; // it listens on a port
  }

  get jwks(): readonly JsonWebKey[] {
    return this.#keys.map(({ jwk }) => jwk);
  }

  sendKeys(response: ServerResponse): void {
    answer(response, { keys: this.jwks });
  }

  addKey(algorithm: Algorithm, id: string): void {
    const { privateKey, publicKey } = generate(algorithm);
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid: id, alg: algorithm, use: 'sig' };
    this.#keys.push({ id, algorithm, privateKey, publicKey, jwk });
  }

  removeKey(id: string): void {
    this.#keys.splice(
      this.#keys.findIndex((key) => key.id === id),
      1,
    );
  }

  publicKey(id = 'key-1'): KeyObject {
    return this.#key(id).publicKey;
  }

  /** Signs a token that is valid for five minutes. `claims` and `header` replace its claims and header. */
  sign(claims: TokenClaims, header: TokenClaims = {}, keyId = this.#keys.at(-1)?.id ?? ''): string {
    const { id, algorithm, privateKey } = this.#key(keyId);
    const now = Math.floor(Date.now() / 1000);
    const payload = { iss: this.url, aud: 'hotblob', iat: now, nbf: now, exp: now + 300, ...claims };
    const signed = `${encode({ typ: 'JWT', alg: algorithm, kid: id, ...header })}.${encode(payload)}`;
    const key = algorithm === 'ES256' ? ({ key: privateKey, dsaEncoding: 'ieee-p1363' } as const) : privateKey;
    const signature = sign(algorithm === 'EdDSA' ? null : 'sha256', Buffer.from(signed), key);
    return `${signed}.${signature.toString('base64url')}`;
  }

  #key(id: string): IssuerKey {
    const key = this.#keys.find((each) => each.id === id);
    if (key === undefined) throw new Error(`the issuer has no key ${id}`);
    return key;
  }
}

/** Encodes a part of a token. */
export function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function generate(algorithm: Algorithm): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } {
  if (algorithm === 'RS256') return generateKeyPairSync('rsa', { modulusLength: 2048 });
  return algorithm === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519');
}

function answer(response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(value));
}
