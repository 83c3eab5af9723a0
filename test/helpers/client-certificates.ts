import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Certificate } from './certificate.js';

/** Authority that issues certificates of clients, made with openssl. */
export class Authority {
  /** Path of the certificate of the authority. */
  readonly path: string;
  readonly #directory: string;
  readonly #name: string;

  /** @param directory directory for its files */
  constructor(directory: string, name = 'authority') {
    this.#directory = directory;
    this.#name = name;
    this.path = this.#file('pem');
    const subject = ['-subj', `/CN=${name}`, '-days', '2', '-addext', 'basicConstraints=critical,CA:true'];
    openssl('req', '-x509', ...KEY, '-keyout', this.#file('key'), '-out', this.path, ...subject);
  }

  /**
   * Issues a certificate.
   *
   * @param subject such as `/O=Acme/CN=ci-7`
   * @param names subject alternative names, such as `URI:spiffe://acme/ci/7`
   * @param days validity; with a negative number, the certificate has expired
   */
  issue(subject: string, names?: string, days = 2): Certificate {
    const [key, request, certificate, extensions] = ['client.key', 'client.csr', 'client.pem', 'client.ext'].map(
      (end) => this.#file(end),
    ) as [string, string, string, string]; // four names
    openssl('req', '-new', ...KEY, '-keyout', key, '-out', request, '-subj', subject);
    writeFileSync(extensions, names === undefined ? '' : `subjectAltName=${names}\n`);
    const issuer = ['-CA', this.path, '-CAkey', this.#file('key'), '-CAcreateserial'];
    openssl('x509', '-req', '-in', request, '-out', certificate, ...issuer, '-extfile', extensions, '-days', `${days}`);
    return { cert: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') };
  }

  #file(end: string): string {
    return join(this.#directory, `${this.#name}-${end}`);
  }
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
