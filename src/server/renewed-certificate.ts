import type { SecureContextOptions, TlsOptions } from 'node:tls';
import { invalidOption } from '../contract/validation.js';

/**
 * Returns the options of a server with a new certificate. Of the old one nothing remains, because Node prefers `pfx` to `cert`
 * and `key`.
 */
export function withCertificate(current: TlsOptions | undefined, renewed: SecureContextOptions): SecureContextOptions {
  const { cert, key, pfx } = renewed;
  if (cert === undefined && key === undefined && pfx === undefined) return { ...current, ...renewed };
  if (cert === undefined && key !== undefined) throw invalidOption('cert', 'the certificate of the key', cert);
  // Node accepts a certificate without a key; each handshake would then fail.
  if (cert !== undefined && key === undefined) throw invalidOption('key', 'the key of the certificate', key);
  return { ...current, cert: undefined, key: undefined, pfx: undefined, passphrase: undefined, ...renewed };
}
