import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { messageOf } from '../../util/report-event.js';
import { CommandError } from '../command.js';

/** Paths of a certificate chain and its private key. */
export interface CertificatePaths {
  /** Value of `--tls-cert`. */
  readonly cert: string;
  /** Value of `--tls-key`. */
  readonly key: string;
  /** Value of `--tls-client-ca`: certificates of the authorities that issue those of clients. */
  readonly clientCa?: string | undefined;
}

/** Certificate chain and private key in PEM, which belong together. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  readonly clientCa?: string | undefined;
  readonly validTo: Date;
}

/** Time before the expiry of a certificate from which it is reported. */
const SOON_MS = 30 * 24 * 60 * 60 * 1000;

/**
 * Checks the contents of the files of `--tls-cert`, `--tls-key` and `--tls-client-ca`.
 *
 * @throws CommandError that names the option, what is wrong, and the remedy
 */
export function checkCertificate(paths: CertificatePaths, { cert, key, clientCa }: CertificatePaths): Certificate {
  const chain = parseChain('--tls-cert', paths.cert, cert);
  const privateKey = parseKey(paths.key, key);
  if (clientCa !== undefined) parseChain('--tls-client-ca', paths.clientCa ?? '', clientCa);
  const [own] = chain;
  if (own === undefined || !own.checkPrivateKey(privateKey)) {
    const isOrder = chain.some((each) => each.checkPrivateKey(privateKey));
    throw new CommandError(
      isOrder
        ? `--tls-cert: ${paths.cert}: the certificate of ${paths.key} must be the first of the chain`
        : `--tls-key: ${paths.key} does not belong to the certificate in ${paths.cert}; use the key that the certificate was issued for`,
    );
  }
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    throw new CommandError(`--tls-cert, --tls-key: ${paths.cert} and ${paths.key} cannot be used: ${messageOf(error)}`);
  }
  return { cert, key, clientCa, validTo: new Date(own.validTo) };
}

/** Returns a line about a certificate that has expired or expires within 30 days; otherwise `undefined`. */
export function expiryWarning(
  { cert }: CertificatePaths,
  { validTo }: Certificate,
  now = Date.now(),
): string | undefined {
  const remainingMs = validTo.getTime() - now;
  if (remainingMs > SOON_MS) return undefined;
  const date = validTo.toISOString().slice(0, 10);
  return `--tls-cert: ${cert}: the certificate ${remainingMs < 0 ? 'expired' : 'expires'} on ${date}; renew it`;
}

function parseChain(option: string, path: string, text: string): X509Certificate[] {
  const blocks = text.match(/-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[\s\S]*?-----END [^-]+-----/g);
  try {
    if (blocks !== null) return blocks.map((block) => new X509Certificate(block));
  } catch {
    // The message of OpenSSL says less than the one below.
  }
  const hint = text.includes('PRIVATE KEY-----')
    ? `found a private key (${option === '--tls-cert' ? 'are --tls-cert and --tls-key swapped?' : 'of an authority, the server needs only the certificate'})`
    : 'found none (convert a DER file with: openssl x509 -inform der)';
  throw new CommandError(`${option}: ${path}: expected a certificate in PEM format, ${hint}`);
}

function parseKey(path: string, text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch (error) {
    const isEncrypted = /ENCRYPTED/.test(text);
    const isCertificate = text.includes('CERTIFICATE-----') && !text.includes('PRIVATE KEY-----');
    throw new CommandError(
      `--tls-key: ${path}: expected a private key in PEM format without a passphrase, ${
        isEncrypted
          ? 'found an encrypted key (remove the passphrase with: openssl pkey -in FILE -out NEW)'
          : isCertificate
            ? 'found a certificate (are --tls-cert and --tls-key swapped?)'
            : `found none (${messageOf(error)})`
      }`,
    );
  }
}
